//! Whatever else one wants to know, in SQL.

use std::fmt::Display;

use anyhow::{Context, Result, anyhow, bail};
use polars::{
    prelude::{AnyValue, DataFrame, DataType, Engine, LazyFrame, PolarsResult, TimeUnit},
    sql::{SQLContext, sql_expr},
};
use sqlparser::{
    ast::Statement,
    dialect::GenericDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use crate::{
    bits::Bits,
    capture::Capture,
    panics::caught,
    table::{Column, Section, Table, Unit, Value},
};

/// The table of a capture.
const TABLE: &str = "capture";
/// Longer answers are for programs that read Parquet themselves.
const ROWS_MAX: usize = 1_000_000;

/// Which rows of the capture an expression is true of, in order: a bit for each.
///
/// # Errors
///
/// When it is none, or not true or false, or the capture cannot be read.
pub(crate) fn which_rows(capture: &Capture, sql: &str) -> Result<Bits> {
    let wrong = |error: &dyn Display| anyhow!("--where {sql:?}: {}", brief(error));
    of_the_capture(sql).map_err(|error| wrong(&error))?;
    // An expression, and nothing that would end it.
    let _ = sql_expr(sql).map_err(|error| wrong(&error))?;
    let mut context = SQLContext::new();
    context.register(TABLE, capture.rows()?);
    let query = format!("SELECT (\n{sql}\n) AS wanted FROM {TABLE}");
    let answer = collected(|| context.execute(&query)).map_err(|error| wrong(&error))?;
    let column = answer.column("wanted").context("there is no answer to --where")?;
    let Ok(wanted) = column.bool() else {
        bail!("--where {sql:?} is {}, and not true or false", column.dtype());
    };
    let rows = capture.files.iter().map(mcrec_capture::Capture::rows).sum::<u64>();
    if u64::try_from(wanted.len()) != Ok(rows) {
        bail!("--where {sql:?} is not about each row; mcanalyze sql takes whole queries");
    }
    Ok(wanted.iter().map(|wanted| wanted == Some(true)).collect())
}

/// The answer to a query.
///
/// # Errors
///
/// When it is none, or the capture cannot be read.
pub(crate) fn sql(capture: &Capture, query: &str) -> Result<Section> {
    let cannot = |error: &dyn Display| anyhow!("cannot run the query: {}", brief(error));
    is_one_query(query).map_err(|error| cannot(&error))?;
    of_the_capture(query).map_err(|error| cannot(&error))?;
    let mut context = SQLContext::new();
    context.register(TABLE, capture.rows()?);
    let most = u32::try_from(ROWS_MAX + 1)?;
    let frame = collected(|| Ok(context.execute(query)?.limit(most))).map_err(|e| cannot(&e))?;
    let more = frame.height() > ROWS_MAX;
    let section =
        Section::lines("rows", "", table(&frame.head(Some(ROWS_MAX)))?).or_else("no rows");
    Ok(if more { section.note(format!("there are more than {ROWS_MAX} rows")) } else { section })
}

/// Refuses what would change something: a capture is only read.
fn is_one_query(query: &str) -> Result<()> {
    match Parser::parse_sql(&GenericDialect {}, query)?.as_slice() {
        [Statement::Query(_)] => Ok(()),
        [] => bail!("there is none; it begins with SELECT"),
        [_] => bail!("a capture is only read: a query begins with SELECT or WITH"),
        _ => bail!("one query at a time"),
    }
}

/// Refuses the functions that read other files, of which it would not be said what is
/// missing in them; and they reach into the network.
fn of_the_capture(sql: &str) -> Result<()> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize()?;
    let tokens: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    for pair in tokens.windows(2) {
        if let [Token::Word(word), Token::LParen] = pair
            && word.value.to_ascii_lowercase().starts_with("read_")
        {
            bail!("the table is {TABLE}: to look into other captures, name them as files");
        }
    }
    Ok(())
}

/// The answer of polars, which panics where types do not go together.
fn collected(frame: impl FnOnce() -> PolarsResult<LazyFrame>) -> Result<DataFrame> {
    match caught(|| frame()?.collect_with_engine(Engine::Streaming)) {
        Ok(answer) => Ok(answer?.unwrap_single()),
        Err(_) => bail!(
            "it compares or computes what does not go together, as a number and a text; or the \
             capture is damaged, which mcanalyze check would tell"
        ),
    }
}

/// The first line: what follows is for those who write polars.
fn brief(error: &dyn Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn table(frame: &DataFrame) -> Result<Table> {
    let columns = frame.columns();
    let described = columns.iter().map(|column| {
        let unit = match column.dtype() {
            DataType::Datetime(..) => Unit::Time,
            DataType::String => Unit::Key,
            kind if kind.is_integer() => Unit::Count,
            kind if kind.is_float() => Unit::Number,
            _ => Unit::Key,
        };
        let name: &str = column.name();
        // Names of an answer are chosen by the query: there are a few, for as long as we run.
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        Column::new(name, name, unit)
    });
    let described = described.collect();
    let mut rows = vec![Vec::with_capacity(columns.len()); frame.height()];
    for column in columns {
        for (row, cells) in rows.iter_mut().enumerate() {
            cells.push(value(&column.get(row).context("a row of the answer is missing")?));
        }
    }
    Ok(Table { columns: described, rows })
}

fn value(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::String(text) => Value::Text((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::Text(text.to_string()),
        AnyValue::Datetime(time, unit, _) => Value::Int(micros(*time, *unit)),
        AnyValue::DatetimeOwned(time, unit, _) => Value::Int(micros(*time, *unit)),
        AnyValue::Float64(number) => Value::Float(*number),
        AnyValue::Float32(number) => Value::Float((*number).into()),
        AnyValue::Boolean(truth) => Value::Text(truth.to_string()),
        other => match other.extract::<i64>() {
            Some(number) if other.is_integer() => Value::Int(number),
            _ => Value::Text(other.to_string()),
        },
    }
}

fn micros(time: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanoseconds => time / 1000,
        TimeUnit::Microseconds => time,
        TimeUnit::Milliseconds => time.saturating_mul(1000),
    }
}

#[cfg(test)]
#[path = "../../../tests/support/made.rs"]
mod made;

#[cfg(test)]
mod tests {
    use super::{made, sql, which_rows};
    use crate::capture::Capture;

    #[test]
    fn what_is_written_after_a_capture_was_opened_is_not_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("growing.parquet");
        let mut making = made::Making::begin(&file);
        let rows = [("set", Some("key"), "stored", Some(80)), ("get", Some("key"), "miss", None)];
        making.commit(&rows);
        let capture = Capture::open(&[file]).unwrap();
        making.commit(&rows);
        let wanted = which_rows(&capture, "op = 'set'").unwrap();
        assert_eq!([0, 1, 2, 3].map(|row| wanted.get(row)), [true, false, false, false]);
        let count = |capture: &Capture| {
            let answer = sql(capture, "SELECT count(*) AS n FROM capture").unwrap();
            answer.table.rows[0][0].clone()
        };
        assert_eq!(count(&capture), 2.into());
        making.end();
        assert_eq!(count(&capture), 2.into());
    }
}
