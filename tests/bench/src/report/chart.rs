//! The ratios of a run as a picture: one bar for each comparison, from 1 (as fast as the peer) to
//! the left if Ordain takes less time, to the right if it takes more. Plain SVG with colours for
//! light and for dark pages. Not for what has no peer.

use std::fmt::Write as _;

/// One comparison: Ordain's time divided by its peer's.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    pub label: String,
    pub ratio: f64,
}

const WIDTH: f64 = 760.0;
/// Where the names end and the bars may begin.
const LEFT: f64 = 330.0;
/// Room at the right for a number.
const RIGHT: f64 = 60.0;
const TOP: f64 = 64.0;
const STEP: f64 = 24.0;
const THICK: f64 = 14.0;
const BOTTOM: f64 = 34.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.small { font-size: 11px; fill: #57606a }
.page { fill: #ffffff }
.less { fill: #1a7f37 }
.more { fill: #9a6700 }
.line { stroke: #8c959f; stroke-width: 1 }
.grid { stroke: #d8dee4; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .page { fill: #0d1117 }
  .less { fill: #3fb950 }
  .more { fill: #d29922 }
  .line { stroke: #9198a1 }
  .grid { stroke: #30363d }
}
";

/// The picture; what is not a finite number above 0 has no place on its scale and is left out.
pub fn svg(bars: &[Bar]) -> String {
    let mut bars: Vec<&Bar> = bars.iter().collect();
    bars.retain(|bar| bar.ratio.is_finite() && bar.ratio > 0.0);
    let height = TOP + STEP * bars.len() as f64 + BOTTOM;
    let scale = Scale::of(&bars);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>Time of Ordain as a multiple of its peer's</title>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"12\" y=\"24\">Time of Ordain, as a multiple of its peer's</text>\n\
         <text class=\"small\" x=\"12\" y=\"42\">Left of 1: Ordain is faster. Logarithmic scale; one run of make bench.</text>\n"
    );
    let bottom = height - BOTTOM + 6.0;
    for power in scale.low..=scale.high {
        let x = scale.x(10f64.powi(power));
        let class = if power == 0 { "line" } else { "grid" };
        let label = number(10f64.powi(power));
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\n\
             <text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        bar.draw(TOP + STEP * row as f64 + 4.0, &scale, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

impl Bar {
    fn draw(&self, y: f64, scale: &Scale, out: &mut String) {
        let (one, end) = (scale.x(1.0), scale.x(self.ratio));
        let (from, width) = (one.min(end), (one - end).abs().max(1.0));
        let class = if self.ratio <= 1.0 { "less" } else { "more" };
        let line = y + THICK - 3.0;
        let (name, ratio) = (escaped(&self.label), number(self.ratio));
        // The number stands where the bar ends, on the side of 1 that is free.
        let at = one.max(end) + 6.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{line:.1}\" text-anchor=\"end\">{name}</text>\n\
             <rect class=\"bar {class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{THICK}\" rx=\"2\"/>\n\
             <text class=\"small\" x=\"{at:.1}\" y=\"{line:.1}\">{ratio}</text>",
            LEFT - 10.0
        );
    }
}

/// Whole powers of ten that all bars lie between.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(bars: &[&Bar]) -> Scale {
        let logs = bars.iter().map(|bar| bar.ratio.log10());
        let low = logs.clone().fold(-1.0, f64::min).floor();
        let high = logs.fold(1.0, f64::max).ceil();
        Scale {
            low: low.max(-9.0) as i32,
            high: high.min(9.0) as i32,
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let at = (ratio.log10().clamp(low, high) - low) / (high - low);
        LEFT + at * (WIDTH - LEFT - RIGHT)
    }
}

fn number(x: f64) -> String {
    if x >= 10.0 {
        format!("{x:.0}")
    } else if x >= 0.1 && x != 1.0 {
        format!("{x:.2}")
    } else {
        format!("{x}").chars().take(6).collect()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, ratio: f64) -> Bar {
        Bar {
            label: label.to_owned(),
            ratio,
        }
    }

    #[test]
    fn the_picture_is_well_formed_and_has_one_bar_for_each_row() {
        let bars = [
            bar("near hit / Cedar", 0.37),
            bar("near hit / regorus", 0.002),
            bar("a < b & \"c\"", 6.1),
            bar("equal", 1.0),
        ];
        let text = svg(&bars);
        let document = roxmltree::Document::parse(&text).expect("XML");
        let of = |class: &str| {
            let elements = document.descendants();
            let rects = elements.filter(|e| e.has_tag_name("rect"));
            rects
                .filter(|e| e.attribute("class").is_some_and(|c| c.contains(class)))
                .count()
        };
        assert_eq!((of("bar"), of("more")), (bars.len(), 1));
        for element in document.descendants() {
            for name in ["x", "x1", "x2", "width"] {
                if let Some(value) = element.attribute(name) {
                    let value: f64 = value.parse().expect("a number");
                    assert!((0.0..=WIDTH).contains(&value), "{name}={value}");
                }
            }
        }
        let texts: Vec<_> = document.descendants().filter_map(|e| e.text()).collect();
        for bar in &bars {
            assert!(texts.contains(&&*bar.label), "{}", bar.label);
        }
        assert!(text.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn what_could_not_be_measured_has_no_bar() {
        let text = svg(&[bar("a", f64::NAN), bar("b", 0.0), bar("c", f64::INFINITY)]);
        let document = roxmltree::Document::parse(&text).expect("XML");
        assert!(
            !document
                .descendants()
                .any(|e| e.attribute("class").is_some_and(|c| c.contains("bar")))
        );
        assert!(svg(&[]).contains("</svg>"));
    }
}
