//! The page: what was found goes into it as data, and the page draws itself.

use std::fmt::Write;

use plotly::Plot;
use serde_json::Value as Json;

const PAGE: &str = include_str!("page.html");

/// The page of a report with this title and data.
pub(super) fn fill(title: &str, data: &Json) -> String {
    let parts = [
        ("title", escaped(title)),
        ("style", include_str!("page.css").to_owned()),
        ("data", inside_a_script(&data.to_string())),
        ("plotly", plotly_js()),
        ("tables", include_str!("tables.js").to_owned()),
        ("charts", include_str!("charts.js").to_owned()),
        ("script", include_str!("page.js").to_owned()),
    ];
    // In one pass: what is put in is not looked at for places to put something in.
    let mut page = String::new();
    let mut rest = PAGE;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let part = parts.iter().find(|(other, _)| *other == name);
        page.push_str(part.map_or("", |(_, part)| part));
        rest = after;
    }
    page + rest
}

/// The chart library, out of what the crate would put into a page of its own.
fn plotly_js() -> String {
    let scripts = Plot::offline_js_sources();
    let script = scripts.split_once('>').map_or("", |(_, script)| script);
    script.split("</script>").next().unwrap_or_default().to_owned()
}

/// JSON that cannot end the script that it stands in, nor begin anything in it.
fn inside_a_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(safe, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
            }
            _ => safe.push(c),
        }
    }
    safe
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fill;

    #[test]
    fn what_a_client_chose_is_data_and_nothing_else() {
        let data = json!({ "key": "</script><script>alert(1)</script>{{style}}" });
        let page = fill("<b>", &data);
        assert!(!page.contains("alert(1)</script>") && page.contains("{{style}}"));
        assert!(page.contains("<title>&lt;b&gt;</title>"));
        assert!(page.len() > 1_000_000, "the chart library is in it");
        assert_eq!(page.matches("</script>").count(), 5);
    }
}
