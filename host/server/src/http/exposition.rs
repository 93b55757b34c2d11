//! In which of two text formats `/metrics` is read: OpenMetrics, or the classic one of Prometheus,
//! which every scraper knows. Not for what is measured (`metrics`).

use std::fmt::Write;

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Classic,
}

impl Format {
    /// What the client likes best (RFC 9110 12.5.1); if it likes both alike or says nothing,
    /// OpenMetrics, and if it likes neither, the one that there is no scraper without.
    pub fn of(headers: &HeaderMap) -> Format {
        let (mut open, mut classic) = (Liking::default(), Liking::default());
        let mut said = false;
        for value in headers.get_all(ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                said |= !range.trim().is_empty();
                open.read(
                    range,
                    "application",
                    "openmetrics-text",
                    &["1.0.0", "0.0.1"],
                );
                classic.read(range, "text", "plain", &["0.0.4"]);
            }
        }
        match open.0.1 >= classic.0.1 && (open.0.1 > 0 || !said) {
            true => Format::OpenMetrics,
            false => Format::Classic,
        }
    }

    pub fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
        })
    }

    /// `text`: OpenMetrics.
    pub fn write(self, text: String) -> String {
        match self {
            Format::OpenMetrics => text,
            Format::Classic => classic(&text),
        }
    }
}

/// How exactly a range has named a format, and how much it is liked, in thousandths: the most exact
/// range counts, whatever others say.
#[derive(Default)]
struct Liking((u8, u16));

impl Liking {
    /// A format in another version is another format.
    fn read(&mut self, range: &str, kind: &str, subtype: &str, versions: &[&str]) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut exactness = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((of, "*")) if of == kind => 2,
            Some((of, what)) if of == kind && what == subtype => 3,
            _ => return,
        };
        let mut quality = 1000;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match &*name.trim().to_ascii_lowercase() {
                "q" => quality = thousandths(value),
                "version" if versions.contains(&value) => exactness = 4,
                "version" => return,
                _ => {}
            }
        }
        if (exactness, quality) > self.0 {
            self.0 = (exactness, quality);
        }
    }
}

fn thousandths(value: &str) -> u16 {
    let quality: f64 = value.parse().unwrap_or(0.0);
    // From 0 to 1000, whatever is written.
    (quality.clamp(0.0, 1.0) * 1000.0).round() as u16
}

/// The same in the classic format: counters are called as their samples are, and there is no end
/// mark.
fn classic(text: &str) -> String {
    let mut to = String::with_capacity(text.len() + 1024);
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // Comes before the type, on which its name depends.
            help = rest;
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.split_once(' ').map_or("", |(_, help)| help);
            // Writing to a String does not fail.
            let _ = writeln!(to, "# HELP {name}{suffix} {help}");
            let _ = writeln!(to, "# TYPE {name}{suffix} {kind}");
        } else if line != "# EOF" {
            to.push_str(line);
            to.push('\n');
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        let of = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            Format::of(&headers)
        };
        for open in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/openmetrics-text"],
            &["application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.9"],
            &["text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0;q=0.6"],
            // Prometheus 2 and 3.
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
            &["text/html, */*;q=0.8"],
            &["text/plain;q=0, */*"],
            &["text/plain;q=0.1", "application/*"],
        ] {
            assert_eq!(of(open), Format::OpenMetrics, "{open:?}");
        }
        for classic in [
            &["text/plain"][..],
            &["text/plain;version=0.0.4"],
            &["Text/Plain; Version=\"0.0.4\"; q=1"],
            &["text/plain;version=0.0.4;q=1,*/*;q=0.1"],
            &["application/openmetrics-text;q=0.5, text/plain"],
            &["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"],
            &["text/*"],
            &["application/openmetrics-text;q=0, */*;q=0.1"],
            &["application/json"],
            &[
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            ],
            &["text/plain;q=x, text/plain;q=0.5"],
        ] {
            assert_eq!(of(classic), Format::Classic, "{classic:?}");
        }
    }

    #[test]
    fn in_the_classic_format_a_counter_is_called_as_its_samples_are() {
        let open = "# HELP a Things that are.\n# TYPE a gauge\na{x=\"1\"} 1.0\n\
                    # HELP b Times.\n# TYPE b counter\nb_total 2\n# EOF\n";
        let classic = "# HELP a Things that are.\n# TYPE a gauge\na{x=\"1\"} 1.0\n\
                       # HELP b_total Times.\n# TYPE b_total counter\nb_total 2\n";
        assert_eq!(Format::Classic.write(open.to_owned()), classic);
        assert_eq!(Format::OpenMetrics.write(open.to_owned()), open);
    }
}
