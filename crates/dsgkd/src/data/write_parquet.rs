//! Parquet out: rows are gathered into row groups, each written column by column.

use super::write::{NewColumn, Sink, Value};
use crate::error::{Error, Result};
use ::parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::Type;
use std::path::Path;
use std::sync::Arc;

const GROUP_ROWS: usize = 10_000;
const GROUP_BYTES: usize = 32 << 20;

/// A Parquet file being written; every column may be null.
pub(super) struct ParquetTable {
    writer: SerializedFileWriter<Sink>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

enum Column {
    Text(Vec<Option<ByteArray>>),
    Number(Vec<Option<f64>>),
}

impl ParquetTable {
    pub(super) fn open(path: &Path, sink: Sink, columns: &[String], added: &[NewColumn]) -> Result<ParquetTable> {
        let kinds = columns.iter().map(|name| (name.as_str(), false));
        let kinds = kinds.chain(added.iter().map(|column| (column.name.as_str(), column.number)));
        let (mut fields, mut buffers) = (Vec::new(), Vec::new());
        for (name, number) in kinds {
            let field = if number {
                buffers.push(Column::Number(vec![]));
                Type::primitive_type_builder(name, PhysicalType::DOUBLE)
            } else {
                buffers.push(Column::Text(vec![]));
                Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
                    .with_logical_type(Some(LogicalType::String))
            };
            let field =
                field.with_repetition(Repetition::OPTIONAL).build().map_err(|error| write_error(path, error))?;
            fields.push(Arc::new(field));
        }
        let writer = Type::group_type_builder("table")
            .with_fields(fields)
            .build()
            .and_then(|schema| {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties))
            })
            .map_err(|error| write_error(path, error))?;
        Ok(ParquetTable { writer, columns: buffers, rows: 0, bytes: 0 })
    }

    pub(super) fn write_row(&mut self, path: &Path, fields: &[Option<String>], added: &[Value]) -> Result<()> {
        let (inputs, news) = self.columns.split_at_mut(fields.len());
        for (column, field) in inputs.iter_mut().zip(fields) {
            if let Column::Text(cells) = column {
                self.bytes += field.as_ref().map_or(0, String::len);
                cells.push(field.as_deref().map(ByteArray::from));
            }
        }
        for (column, value) in news.iter_mut().zip(added) {
            match (column, value) {
                (Column::Number(cells), Value::Number(number)) => cells.push(Some(*number).filter(|n| n.is_finite())),
                (Column::Text(cells), Value::Text(text)) => {
                    self.bytes += text.len();
                    cells.push(Some(ByteArray::from(text.as_str())));
                }
                (Column::Number(cells), Value::Missing) => cells.push(None),
                (Column::Text(cells), Value::Missing) => cells.push(None),
                (Column::Text(cells), Value::Number(number)) => {
                    cells.push(Some(ByteArray::from(number.to_string().as_str())));
                }
                (Column::Number(_), Value::Text(_)) => {
                    return Err(Error::Data(format!("{}: text in a column of numbers", path.display())));
                }
            }
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group().map_err(|error| write_error(path, error))?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            match column {
                Column::Text(cells) => {
                    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
                    let values: Vec<ByteArray> = cells.drain(..).flatten().collect();
                    writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
                }
                Column::Number(cells) => {
                    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
                    let values: Vec<f64> = cells.drain(..).flatten().collect();
                    writer.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
                }
            }
            writer.close()?;
        }
        group.close()?;
        self.rows = 0;
        self.bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self, path: &Path) -> Result<()> {
        if self.rows > 0 {
            self.write_group().map_err(|error| write_error(path, error))?;
        }
        self.writer.finish().map_err(|error| write_error(path, error))?;
        Ok(())
    }
}

fn write_error(path: &Path, error: ParquetError) -> Error {
    // The crate wraps the system's error; its words about a full disk are what the user needs.
    let source = match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => *source,
            Err(_) => std::io::Error::other("the Parquet writer failed"),
        },
        _ => std::io::Error::other("the Parquet writer failed"),
    };
    Error::Io { path: path.to_path_buf(), action: "write", source }
}
