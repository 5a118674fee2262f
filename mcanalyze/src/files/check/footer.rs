//! What a capture says of itself, without reading its rows.

use mcrec_capture::Capture;
use mcrec_schema::{columns, footer::Footer};
use parquet::{
    arrow::ArrowSchemaConverter, basic::Repetition, file::metadata::RowGroupMetaData,
    schema::types::ColumnDescriptor,
};

use super::{super::rows::range, Findings, Rule};

pub(super) fn check(capture: &Capture, findings: &mut Findings) {
    let footer = capture.footer();
    columns(capture, findings);
    span(footer, findings);
    let (loss, written) = (&footer.loss, footer.loss.written);
    let lost = loss.losses.total();
    if written.checked_add(lost) != Some(loss.seen) {
        findings.broken(Rule::Seen, || {
            format!("seen {}, written {written} and {lost} lost", loss.seen)
        });
    }
    if written != capture.rows() {
        findings.broken(Rule::Written, || {
            format!("{written} were written, and {} are there", capture.rows())
        });
    }
    series(footer, findings);
    for (number, group) in capture.row_groups().iter().enumerate() {
        if group.num_rows() > 0 && range(group, columns::TS).is_none() {
            findings.broken(Rule::Statistics, || format!("row group {number} does not"));
        }
    }
    if footer.capture.ended.is_none() {
        findings.remarks.push(
            "the recorder is still at work or was cut off: operations after the last commit are \
             missing"
                .to_owned(),
        );
    }
    let misread = loss.losses.decode_error;
    if misread > 0 {
        findings.remarks.push(format!(
            "{misread} times a connection fell out of step, so that operations are missing and \
             rows may be wrong"
        ));
    }
    let lost = loss.losses.of_operations().total();
    if lost > 0 {
        let least = match (footer.losses_are_operations(), misread) {
            (true, 0) => "",
            (false, 0) => "at least ",
            _ => "about ",
        };
        findings
            .remarks
            .push(format!("{least}{lost} operations were lost, and are counted as lost"));
    }
    let possible = loss.possible.total();
    if possible > 0 {
        findings.remarks.push(format!(
            "up to {possible} reads or replies more may be missing, as the kernel skipped programs"
        ));
    }
    if let Some(how) = &footer.capture.recovered {
        findings.remarks.push(format!("its footer was made up after the fact: {how}"));
    }
}

fn columns(capture: &Capture, findings: &mut Findings) {
    let Some(group) = capture.row_groups().first() else {
        return;
    };
    let is_merged = !capture.footer().parts().is_empty();
    let names = if is_merged { columns::merged_schema() } else { columns::schema() };
    let Ok(expected) = ArrowSchemaConverter::new().convert(&names) else {
        return;
    };
    let minor = capture.footer().minor;
    for column in expected.columns() {
        let name = column.name();
        let Some(found) = find(group, name) else {
            if !columns::of_minor(name, minor) {
                continue;
            }
            findings.broken(Rule::Columns, || format!("column {name} is missing"));
            continue;
        };
        let kind = |column: &ColumnDescriptor| {
            (column.physical_type(), column.logical_type_ref().cloned())
        };
        let required = |column: &ColumnDescriptor| column.self_type().get_basic_info().repetition();
        if kind(found) != kind(column) {
            findings.broken(Rule::Columns, || {
                format!("column {name} has type {:?}, not {:?}", kind(found), kind(column))
            });
        } else if required(found) != required(column) {
            let nulls = if required(column) == Repetition::REQUIRED { "may not" } else { "must" };
            findings.broken(Rule::Columns, || format!("column {name} {nulls} allow nulls"));
        }
    }
    let more = group.columns().iter().map(|column| column.column_path().string());
    let more: Vec<String> = more.filter(|name| names.field_with_name(name).is_err()).collect();
    if !more.is_empty() {
        findings.remarks.push(format!("columns beyond those of the format: {}", more.join(", ")));
    }
}

fn find<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a ColumnDescriptor> {
    let column = group.columns().iter().find(|column| column.column_path().string() == name)?;
    Some(column.column_descr())
}

fn span(footer: &Footer, findings: &mut Findings) {
    let capture = &footer.capture;
    if capture.start_us > capture.end_us || capture.start_monotonic_ns > capture.end_monotonic_ns {
        findings.broken(Rule::Span, || {
            format!("it starts at {} µs and ends at {} µs", capture.start_us, capture.end_us)
        });
    }
}

fn series(footer: &Footer, findings: &mut Findings) {
    let loss = &footer.loss;
    adds_up(footer, &loss.series, (loss.losses.total(), "were lost"), findings);
    let possible = (loss.possible.total(), "may be missing");
    adds_up(footer, &loss.possible_series, possible, findings);
}

fn adds_up(
    footer: &Footer,
    series: &[[i64; 3]],
    (total, what): (u64, &str),
    findings: &mut Findings,
) {
    let (start, end) = (footer.capture.start_us, footer.capture.end_us);
    let mut sum: i128 = 0;
    for entry @ [from, to, count] in series {
        sum += i128::from(*count);
        if from > to || *from < start || *to > end || *count < 0 {
            findings.broken(Rule::Series, || format!("entry {entry:?} is not in {start} to {end}"));
        }
    }
    if sum != i128::from(total) {
        findings.broken(Rule::Series, || format!("it adds up to {sum}, and {total} {what}"));
    }
}
