//! A table of answers: what a query returns and a renderer prints.

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// Each as long as `columns`.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// A column of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// For programs.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    /// What its numbers mean.
    pub(crate) unit: Unit,
    /// How much people need it, where not everything can be shown.
    pub(crate) need: Need,
}

/// Whether a column is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Always.
    Always,
    /// Where there is room.
    Room,
    /// Never: it can be derived from others, and programs get it.
    Program,
}

/// What the values of a column mean, and so how people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Words of ours.
    Word,
    /// A key, or whatever else a client chose: hostile.
    Key,
    /// A number of things.
    Count,
    /// 0 to 1.
    Ratio,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
    /// Per second.
    Rate,
    /// Kilobits a second.
    Kbps,
    /// A point in time: µs since the epoch, UTC.
    Time,
}

/// A value in a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Not known, or there is none.
    Null,
    Text(String),
    Int(i64),
    Float(f64),
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

impl From<Option<f64>> for Value {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Float)
    }
}
