//! The charts, as SVG that takes its colours from the page: light, dark or paper.

use crate::error::{Error, Result};
use plotters::prelude::*;
use std::ops::Range;

/// Size of a chart in its own units; the page scales it.
const SIZE: (u32, u32) = (460, 360);

/// What a chart's parts are painted with until the page's classes replace it: `(paint, class of lines, class of areas and words)`.
const PAINTS: [(RGBColor, &str, &str); 7] = [
    (RGBColor(1, 1, 1), "ink", "ink-fill"),
    (RGBColor(2, 2, 2), "grid", "grid-fill"),
    (RGBColor(7, 7, 7), "ref", "ref-fill"),
    (RGBColor(3, 3, 3), "s0", "s0-fill"),
    (RGBColor(4, 4, 4), "s1", "s1-fill"),
    (RGBColor(5, 5, 5), "s2", "s2-fill"),
    (RGBColor(6, 6, 6), "s3", "s3-fill"),
];
const INK: RGBColor = PAINTS[0].0;
const GRID: RGBColor = PAINTS[1].0;
const REFERENCE: RGBColor = PAINTS[2].0;
/// Series that have a colour of their own.
pub(crate) const SERIES: usize = 4;

/// A line, or dots with intervals.
pub(crate) struct Series {
    /// Which of the [`SERIES`] colours; `None`: lines to compare with.
    pub color: Option<usize>,
    /// What is drawn.
    pub points: Points,
}

/// What a series draws.
pub(crate) enum Points {
    /// `(x, y)`, joined.
    Line(Vec<(f64, f64)>),
    /// `(x, y, low, high)`.
    Dots(Vec<(f64, f64, f64, f64)>),
}

/// A chart.
pub(crate) struct Chart<'a> {
    /// For those who cannot see it.
    pub description: &'a str,
    /// Name of the axis to the right.
    pub x: &'a str,
    /// Name of the axis upwards.
    pub y: &'a str,
    /// Range of either axis.
    pub range: (Range<f64>, Range<f64>),
    /// In the order of drawing.
    pub series: Vec<Series>,
}

/// Words in a chart that stands alone.
#[derive(Clone, Copy, Default)]
struct Words<'a> {
    /// What is said at x = 0, 1, ... instead of the number.
    ticks: &'a [String],
    /// Of the series in colour, for the legend.
    names: &'a [String],
}

/// Draws a chart as an `<svg>` element of a page, which has the legend and the colours.
pub(super) fn draw(chart: &Chart) -> Result<String> {
    let svg = drawn(chart, SIZE, Words::default())?;
    Ok(with_classes(&svg, SIZE, chart.description))
}

/// Draws a chart as a file of its own, with a legend of `names` and with `ticks` at x = 0, 1, ...
pub(crate) fn draw_alone(chart: &Chart, ticks: &[String], names: &[String]) -> Result<String> {
    let size = (720, 440);
    let svg = with_classes(&drawn(chart, size, Words { ticks, names })?, size, chart.description);
    let style = format!("<style>{}svg {{ background: var(--paper); }}</style>", include_str!("plots.css"));
    let inside = svg.find('>').map_or(0, |end| end + 1);
    Ok(format!("{}\n{style}{}", &svg[..inside], &svg[inside..]))
}

fn drawn(chart: &Chart, size: (u32, u32), words: Words) -> Result<String> {
    let mut svg = String::new();
    let failed = |_| Error::Data(format!("the chart of {} cannot be drawn", chart.y));
    paint(chart, size, words, &mut svg).map_err(failed)?;
    Ok(svg)
}

fn paint(
    chart: &Chart,
    size: (u32, u32),
    words: Words,
    svg: &mut String,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (x, y) = chart.range.clone();
    // Lines end at the frame: what lies beyond it is not drawn.
    let inside = |(px, py): &(f64, f64)| x.contains(px) | (*px == x.end) && y.contains(py) | (*py == y.end);
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    builder
        .margin(10)
        .margin_top(if words.names.is_empty() { 10 } else { 32 })
        .x_label_area_size(42)
        .y_label_area_size(54);
    let mut axes = builder.build_cartesian_2d(x.clone(), y.clone())?;
    let tick = |x: &f64| {
        let at = words.ticks.iter().enumerate().find(|(at, _)| (*at as f64 - x).abs() < 1e-9);
        at.map_or(String::new(), |(_, name)| name.clone())
    };
    let mut mesh = axes.configure_mesh();
    mesh.x_labels(if words.ticks.is_empty() { 6 } else { 2 * words.ticks.len() })
        .y_labels(6)
        .x_desc(chart.x)
        .y_desc(chart.y)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK));
    if !words.ticks.is_empty() {
        mesh.x_label_formatter(&tick);
    }
    mesh.draw()?;
    for series in &chart.series {
        let color = series.color.map_or(REFERENCE, |color| PAINTS[3 + color % SERIES].0);
        let width = if series.color.is_some() { 2 } else { 1 };
        match &series.points {
            Points::Line(points) => {
                for piece in points.split(|point| !inside(point)).filter(|piece| !piece.is_empty()) {
                    axes.draw_series(LineSeries::new(piece.to_vec(), color.stroke_width(width)))?;
                }
            }
            Points::Dots(dots) => {
                let bars = dots
                    .iter()
                    .map(|(x, _, low, high)| PathElement::new(vec![(*x, *low), (*x, *high)], color.stroke_width(1)));
                axes.draw_series(bars)?;
                axes.draw_series(dots.iter().map(|(x, y, _, _)| Circle::new((*x, *y), 4, color.filled())))?;
            }
        }
    }
    for (index, name) in words.names.iter().take(SERIES).enumerate() {
        let at = (66 + 160 * (index as i32 % 4), 14);
        area.draw(&Circle::new(at, 5, PAINTS[3 + index].0.filled()))?;
        let style = ("sans-serif", 13).into_font().color(&INK);
        area.draw(&Text::new(name.clone(), (at.0 + 10, at.1 - 7), style))?;
    }
    area.present()?;
    Ok(())
}

/// Turns paints into classes, and the fixed size into one that the page gives.
fn with_classes(svg: &str, size: (u32, u32), description: &str) -> String {
    let escaped = description.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let fixed = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let mut out = svg.replace(&fixed, &format!("<svg role=\"img\" aria-label=\"{escaped}\""));
    for (RGBColor(r, g, b), line, fill) in PAINTS {
        let paint = format!("#{r:02X}{g:02X}{b:02X}");
        out = out.replace(&format!("stroke=\"{paint}\""), &format!("class=\"{line}\""));
        out = out.replace(&format!("fill=\"{paint}\""), &format!("class=\"{fill}\""));
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_that_stands_alone_has_words_and_the_page_s_colours() {
        let series = vec![Series { color: Some(1), points: Points::Line(vec![(0.0, 0.2), (1.0, 0.8)]) }];
        let chart = Chart { description: "d", x: "", y: "y", range: (-0.3..1.3, 0.0..1.0), series };
        let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        let svg = draw_alone(&chart, &words("few many"), &words("a b<c")).unwrap();
        for word in [">\nfew\n<", ">\nmany\n<", ">\na\n<", ">\nb&lt;c\n<", ".s1 { stroke: var(--s1); }", "class=\"s1\""]
        {
            assert!(svg.contains(word), "{word}: {svg}");
        }
        assert_eq!(svg.matches("xmlns=").count(), 1);
        for css in [include_str!("plots.css"), include_str!("page.css")] {
            assert_eq!(css.matches('{').count(), css.matches('}').count());
        }
    }

    #[test]
    fn a_chart_has_no_colour_of_its_own_and_stays_in_its_frame() {
        let series = vec![
            Series { color: None, points: Points::Line(vec![(0.0, 0.0), (1.0, 1.0)]) },
            Series { color: Some(0), points: Points::Line(vec![(0.0, 0.2), (0.5, -7.0), (0.6, 0.3), (1.0, 1.0)]) },
            Series { color: Some(1), points: Points::Dots(vec![(0.5, 0.5, 0.4, 0.6)]) },
        ];
        let chart = Chart { description: "a \"b\" < c", x: "x", y: "y", range: (0.0..1.0, 0.0..1.0), series };
        let svg = draw(&chart).unwrap();
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"a &quot;b&quot; &lt; c\" viewBox="), "{svg}");
        assert!(!svg.contains("#0"), "{svg}");
        for class in ["\"s0\"", "\"s1\"", "\"s1-fill\"", "\"ref\"", "\"grid\"", "\"ink-fill\""] {
            assert!(svg.contains(&format!("class={class}")), "{class}: {svg}");
        }
        // The point far below is not drawn; the line is in two pieces, of which the first is a single point.
        let lines: Vec<&str> = svg.split("<polyline").filter(|line| line.contains("class=\"s0\"")).collect();
        assert!(lines.len() <= 2 && !lines.is_empty(), "{svg}");
    }
}
