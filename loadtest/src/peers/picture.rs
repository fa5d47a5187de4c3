//! Draws the comparison as bars, a panel a question, readable on light and dark pages.

use std::fmt::Write as _;

use super::growth::{AXES, SIZES};
use super::page::number;
use super::questions::QUESTIONS;
use super::{Results, median};

const WIDTH: f64 = 860.0;
const LABEL_WIDTH: f64 = 160.0;
const VALUE_WIDTH: f64 = 110.0;
const BAR_HEIGHT: f64 = 18.0;
const PANEL_GAP: f64 = 30.0;

/// The figures that are drawn: question and figure.
const PANELS: [(usize, usize); 5] = [(2, 0), (0, 2), (1, 1), (6, 0), (8, 3)];

/// One SVG with a panel for each of [`PANELS`] and one for each growth series.
pub(super) fn draw(results: &Results) -> String {
    let mut body = String::new();
    let mut top = 20.0;
    for (question, at) in PANELS {
        let figure = QUESTIONS[question].figures[at];
        let title = format!(
            "{}: {}, {}",
            QUESTIONS[question].title, figure.label, figure.unit
        );
        let bars = results.servers.iter().enumerate();
        let bars: Vec<_> = bars
            .filter_map(|(column, (server, _))| {
                let value = median(results.measured.get(&(question, at, column))?)?;
                Some((server.name.to_owned(), value, column == 0))
            })
            .collect();
        top = panel(&mut body, top, &title, &bars, figure.decimals);
    }
    for (axis, figures) in results
        .growth
        .iter()
        .flat_map(|growth| AXES.iter().zip(&growth.figures))
    {
        let bars: Vec<_> = SIZES
            .iter()
            .zip(figures)
            .filter_map(|(size, figure)| Some((number(*size as f64, 0), (*figure)?, true)))
            .collect();
        let title = format!("{}, {}", axis.title, axis.unit);
        top = panel(&mut body, top, &title, &bars, 2);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#808080\">\n{body}</svg>\n"
    )
}

/// Draws one panel of bars and returns where the next one begins. Bars that have a length to compare
/// start at zero.
fn panel(
    body: &mut String,
    top: f64,
    title: &str,
    bars: &[(String, f64, bool)],
    decimals: usize,
) -> f64 {
    if bars.is_empty() {
        return top;
    }
    let _ = writeln!(
        body,
        "<text x=\"0\" y=\"{top}\" font-weight=\"bold\">{title}</text>"
    );
    let longest = bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let room = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
    let mut y = top + 10.0;
    for (label, value, is_own) in bars {
        let length = if longest > 0.0 {
            value / longest * room
        } else {
            0.0
        };
        let color = if *is_own { "#2f7de1" } else { "#9aa5b1" };
        let middle = y + BAR_HEIGHT - 5.0;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABEL_WIDTH:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{:.0}\" \
             fill=\"{color}\"/><text x=\"{:.1}\" y=\"{middle:.0}\">{}</text>",
            LABEL_WIDTH - 8.0,
            BAR_HEIGHT - 3.0,
            LABEL_WIDTH + length + 6.0,
            number(*value, decimals)
        );
        y += BAR_HEIGHT;
    }
    y + PANEL_GAP
}
