//! The report as a page that needs nothing else: no scripts, no files, drawn in SVG, in light and dark.

use std::fmt::Write;

use super::report::{Report, list, time};

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let asked = escape(&report.asked);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{asked}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{:.0} replies/s</h1>\n<p>{asked}</p>\n",
        report.per_second()
    );
    page.push_str("<h2>Latency over time</h2>\n");
    page.push_str(&over_time(report));
    page.push_str("<h2>Latency by percentile</h2>\n");
    page.push_str(&by_percentile(report));
    page.push_str("<h2>Figures</h2>\n<table>\n");
    for (name, value) in rows(report) {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("requests", report.tally.requests.to_string()),
        ("seconds", format!("{:.2}", report.seconds)),
        ("errors", list(&report.tally.errors)),
    ];
    rows.extend(report.percentiles().map(|(name, value)| (name, time(value))));
    rows.push(("connections opened", report.opened.to_string()));
    rows.push(("requests on reused ones", report.tally.reused.to_string()));
    rows.push(("connections closed", list(&report.closed)));
    rows.push(("TIME_WAIT", report.waiting()));
    rows
}

fn over_time(report: &Report) -> String {
    let steps: Vec<_> = report.tally.curve().filter(|(_, step)| step.count() > 0).collect();
    let end = steps.last().map_or(1.0, |(at, _)| at.as_secs_f64());
    let curve = |q: f64| -> Vec<_> {
        steps.iter().map(|(at, step)| (at.as_secs_f64() / end, step.quantile_us(q))).collect()
    };
    let ends = ("0 s".to_owned(), format!("{end:.1} s"));
    drawing(&[("p50", curve(0.5)), ("p99", curve(0.99))], &ends)
}

/// Each nine has the same width, as in the plots of HdrHistogram.
fn by_percentile(report: &Report) -> String {
    let points = (0..=40).map(|step| {
        let x = f64::from(step) / 40.0;
        (x, report.tally.latencies.quantile_us(1.0 - 0.1_f64.powf(x * 4.0)))
    });
    drawing(&[("all", points.collect())], &("0 %".to_owned(), "99.99 %".to_owned()))
}

/// Curves from 0 to 1 and from nothing to the highest value, with a scale.
fn drawing(curves: &[(&str, Vec<(f64, f64)>)], ends: &(String, String)) -> String {
    let highest = curves.iter().flat_map(|(_, points)| points).map(|(_, y)| *y).fold(1.0, f64::max);
    let mut svg = String::from("<svg viewBox=\"0 0 800 260\" role=\"img\">\n");
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let y = 220.0 - 200.0 * share;
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"80\" x2=\"780\" y1=\"{y}\" y2=\"{y}\"/>");
        let label = time(highest * share);
        let _ = writeln!(svg, "<text x=\"74\" y=\"{}\" text-anchor=\"end\">{label}</text>", y + 4.0);
    }
    for (number, (name, points)) in curves.iter().enumerate() {
        let place =
            |(x, y): &(f64, f64)| format!("{:.1},{:.1}", 80.0 + 700.0 * x, 220.0 - 200.0 * y / highest);
        let points: Vec<_> = points.iter().map(place).collect();
        let _ = writeln!(svg, "<polyline class=\"curve{number}\" points=\"{}\"/>", points.join(" "));
        let x = 90 + 60 * number;
        let _ = writeln!(svg, "<text class=\"name{number}\" x=\"{x}\" y=\"14\">{name}</text>");
    }
    let (from, to) = ends;
    let _ = writeln!(
        svg,
        "<text x=\"80\" y=\"244\">{from}</text><text x=\"780\" y=\"244\" text-anchor=\"end\">{to}</text>\n</svg>"
    );
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--grid:#d5dae1;--one:#1264a3;--two:#b8460e}\
@media(prefers-color-scheme:dark){:root{--ink:#e3e7ec;--paper:#14181e;--grid:#353c46;--one:#69b1ee;--two:#f0935c}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:820px;margin:2em auto;padding:0 1em}\
h1{margin-bottom:0}h2{font-size:1.1em;margin-top:2em}p{overflow-wrap:anywhere}\
svg{width:100%}text{font-size:12px;fill:var(--ink)}.grid{stroke:var(--grid)}polyline{fill:none;stroke-width:2}\
.curve0{stroke:var(--one)}.name0{fill:var(--one)}.curve1{stroke:var(--two)}.name1{fill:var(--two)}\
table{border-collapse:collapse}th{text-align:left;font-weight:normal;padding-right:2em}td{text-align:right;font-variant-numeric:tabular-nums}\
tr{border-bottom:1px solid var(--grid)}";
