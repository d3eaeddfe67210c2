#![allow(clippy::unwrap_used)]
use super::*;
use std::io::{Cursor, Write};

/// A zip archive of deflated entries, with `declared` bytes in place of their true size where given.
fn zip(entries: &[(&str, &[u8])], declared: Option<u32>) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        let packed = packer.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // Version, flags, method, time, date, CRC, sizes, length of the name: the same in both headers.
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend(declared.unwrap_or(content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        let start = archive.len() as u32;
        archive.extend([b"PK\x03\x04", &common[..], &[0, 0], name.as_bytes(), &packed].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 12], &start.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, size, count) = (archive.len() as u32, directory.len() as u32, entries.len() as u16);
    archive.extend(directory);
    archive.extend([b"PK\x05\x06", &[0; 4][..], &count.to_le_bytes(), &count.to_le_bytes()].concat());
    archive.extend([&size.to_le_bytes()[..], &start.to_le_bytes(), &[0, 0]].concat());
    archive
}

fn workbook(sheet: &str) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006/relationships";
    let types = "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>".to_string();
    let top = format!(
        "<Relationships xmlns=\"{package}\"><Relationship Id=\"r\" Type=\"{office}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    );
    let book = format!(
        "<workbook xmlns=\"{main}\" xmlns:r=\"{office}\"><sheets><sheet name=\"Visits\" sheetId=\"1\" r:id=\"rId1\"/>\
         <sheet name=\"Empty\" sheetId=\"2\" r:id=\"rId2\"/></sheets></workbook>"
    );
    let relations = format!(
        "<Relationships xmlns=\"{package}\"><Relationship Id=\"rId1\" Type=\"{office}/worksheet\" Target=\"worksheets/sheet1.xml\"/>\
         <Relationship Id=\"rId2\" Type=\"{office}/worksheet\" Target=\"worksheets/sheet2.xml\"/></Relationships>"
    );
    let styles = format!(
        "<styleSheet xmlns=\"{main}\"><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"22\" applyNumberFormat=\"1\"/></cellXfs></styleSheet>"
    );
    let sheet = format!("<worksheet xmlns=\"{main}\"><sheetData>{sheet}</sheetData></worksheet>");
    let empty = format!("<worksheet xmlns=\"{main}\"><sheetData/></worksheet>");
    zip(
        &[
            ("[Content_Types].xml", types.as_bytes()),
            ("_rels/.rels", top.as_bytes()),
            ("xl/workbook.xml", book.as_bytes()),
            ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
            ("xl/styles.xml", styles.as_bytes()),
            ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
            ("xl/worksheets/sheet2.xml", empty.as_bytes()),
        ],
        None,
    )
}

fn text(place: &str, text: &str) -> String {
    format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
}

/// A header in row 2, a row of every kind of value, an empty row, a row with a cell in the margin and one far away.
fn visits() -> Vec<u8> {
    let sheet = [
        "<row r=\"2\">".to_string(),
        text("A2", " Note "),
        text("B2", "Age"),
        text("C2", "Seen"),
        text("D2", "Well"),
        "</row><row r=\"3\">".to_string(),
        text("A3", "발열 fever"),
        "<c r=\"B3\"><v>71</v></c><c r=\"C3\" s=\"1\"><v>45443.5</v></c><c r=\"D3\" t=\"b\"><v>1</v></c></row>"
            .to_string(),
        "<row r=\"4\"/><row r=\"5\"><c r=\"B5\"><v>36.6</v></c><c r=\"D5\" t=\"e\"><v>#N/A</v></c>".to_string(),
        text("F5", "margin"),
        "</row><row r=\"1048576\">".to_string(),
        text("XFD1048576", "far away"),
        "</row>".to_string(),
    ];
    workbook(&sheet.concat())
}

fn open(bytes: Vec<u8>, sheet: &str) -> Result<(Vec<String>, XlsxRows)> {
    XlsxRows::open(Path::new("a.xlsx").into(), Cursor::new(bytes), sheet)
}

#[test]
fn cells_of_every_kind_become_text() {
    let (columns, mut rows) = open(visits(), "").unwrap();
    assert_eq!(columns, ["Note", "Age", "Seen", "Well"]);
    let cells = |cells: [&str; 4]| cells.map(|cell| (!cell.is_empty()).then(|| cell.to_string())).to_vec();
    let expected = Record::of_text(3, cells(["발열 fever", "71", "2024-05-31 12:00:00", "true"]));
    assert_eq!(rows.next_record(), Some(expected));
    assert_eq!(rows.next_record(), Some(Record::of_text(5, cells(["", "36.6", "", "#N/A"]))));
    assert_eq!(rows.next_record(), Some(Record::of_text(1_048_576, cells(["", "", "", ""]))));
    assert_eq!(rows.next_record(), None);
}

#[test]
fn sheets_are_found_by_name() {
    assert!(open(visits(), "Visits").is_ok());
    let message = |sheet: &str| open(visits(), sheet).map(|_| ()).unwrap_err().to_string();
    assert!(message("visit").contains("did you mean \"Visits\"?"));
    assert!(message("Empty").contains("sheet \"Empty\" is empty"));
}

#[test]
fn cells_and_sheets_of_too_much_text_are_refused() {
    let open = |cell: usize, sheet: usize| {
        let source = Cursor::new(visits());
        XlsxRows::open_within(Path::new("a.xlsx").into(), source, "", cell, sheet).map(|_| ())
    };
    // The longest cell is the time of row 3.
    open(19, 200).unwrap();
    let error = open(18, 200).unwrap_err().to_string();
    assert!(error.starts_with("a.xlsx: sheet \"Visits\" has a cell of more than 0 MiB in row 3; save"), "{error}");
    let error = open(19, 40).unwrap_err().to_string();
    assert!(error.ends_with("has more than 0 MiB of text; save the sheet as CSV"), "{error}");
}

#[test]
fn archives_that_unpack_to_too_much_are_refused() {
    let refused = |bytes: Vec<u8>| open(bytes, "").map(|_| ()).unwrap_err().to_string();
    let zeros = vec![b' '; 201 << 20];
    let honest = zip(&[("xl/workbook.xml", &zeros)], None);
    assert!(honest.len() < 2 << 20);
    assert!(refused(honest).contains("unpacks to more than"));
    let lying = zip(&[("xl/workbook.xml", &zeros)], Some(1000));
    assert!(refused(lying).contains("unpacks to more than"));
    let half = vec![b' '; 150 << 20];
    let many = zip(&[("a", &half), ("b", &half), ("c", &half)], Some(1000));
    assert!(refused(many).contains("unpacks to more than"));
}

#[test]
fn damaged_workbooks_are_errors_never_panics() {
    let whole = visits();
    for length in (0..whole.len()).step_by(7) {
        assert!(open(whole[..length].to_vec(), "").is_err(), "cut at {length}");
    }
    for position in 0..whole.len() {
        for flip in [0xFF, 0x01] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            if let Ok((_, mut rows)) = open(damaged, "") {
                while rows.next_record().is_some() {}
            }
        }
    }
    assert!(open(b"Note;Age\nfever;7\n".to_vec(), "").is_err());
    assert!(open(vec![], "").is_err());
}
