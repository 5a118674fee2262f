//! A table of answers: what a query returns and a renderer prints.

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// For programs: where the rows stand in the JSON object; a dot goes into an object.
    pub(crate) name: &'static str,
    /// For people: what stands above the table; nothing if empty.
    pub(crate) title: String,
    pub(crate) table: Table,
    /// How people see it.
    pub(crate) style: Style,
    /// What people are told where there are no rows.
    pub(crate) empty: &'static str,
    /// What else people must know of it.
    pub(crate) notes: Vec<String>,
}

/// How people see a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Line by line; with bars for the values of a column, if one is named.
    Lines(Option<&'static str>),
    /// As histograms: the first column says of what, the second and third from where to
    /// where, the fourth how many.
    Histograms,
    /// The first two columns alone, a name and a figure to a line.
    Figures,
}

impl Section {
    /// A table that is seen line by line.
    pub(crate) fn lines(name: &'static str, title: &str, table: Table) -> Self {
        let (style, notes) = (Style::Lines(None), Vec::new());
        Self { name, title: title.to_owned(), table, style, empty: "nothing", notes }
    }

    /// The same with bars.
    pub(crate) fn bars(name: &'static str, title: &str, table: Table, bar: &'static str) -> Self {
        Self { style: Style::Lines(Some(bar)), ..Self::lines(name, title, table) }
    }

    /// With what people are told where there are no rows.
    pub(crate) fn or_else(self, empty: &'static str) -> Self {
        Self { empty, ..self }
    }

    /// With these columns marked as estimates, if the capture is a `sample`.
    pub(crate) fn scaled(mut self, sample: bool, names: &[&str]) -> Self {
        for column in &mut self.table.columns {
            column.about |= sample && names.contains(&column.name);
        }
        self
    }

    /// With what people must know of figures that were scaled from one key in `one_in`.
    pub(crate) fn note_of_sample(self, one_in: u32) -> Self {
        match one_in {
            1 => self,
            _ => self.note(format!(
                "Numbers of keys, operations and bytes are estimates: scaled from one key in {one_in}."
            )),
        }
    }

    /// With something that people must know of it.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Rows and columns.
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
    /// Scaled from a sample, and so an estimate.
    pub(crate) about: bool,
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
    /// Seconds.
    Seconds,
    /// A number that is none of the others.
    Number,
    /// Per second.
    Rate,
    /// Kilobits a second.
    Kbps,
    /// A point in time: µs since the epoch, UTC.
    Time,
}

impl Unit {
    /// Each unit that a figure can have, by the name that stands beside it.
    const NAMED: [(&'static str, Self); 8] = [
        ("count", Self::Count),
        ("ratio", Self::Ratio),
        ("bytes", Self::Bytes),
        ("ns", Self::Nanoseconds),
        ("s", Self::Seconds),
        ("per second", Self::Rate),
        ("kbps", Self::Kbps),
        ("time", Self::Time),
    ];

    /// The unit of this name.
    pub(crate) fn named(name: &str) -> Self {
        let named = Self::NAMED.into_iter().find(|(other, _)| *other == name);
        named.map_or(Self::Number, |(_, unit)| unit)
    }
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

impl Column {
    /// A column that people always see.
    pub(crate) const fn new(name: &'static str, title: &'static str, unit: Unit) -> Self {
        Self { name, title, unit, need: Need::Always, about: false }
    }

    /// What stands above it, for people.
    pub(crate) fn heading(&self) -> String {
        let about = if self.about { "~" } else { "" };
        format!("{about}{}", self.title)
    }

    /// The same, seen where there is room.
    pub(crate) const fn if_room(self) -> Self {
        Self { need: Need::Room, ..self }
    }

    /// The same, for programs.
    pub(crate) const fn for_programs(self) -> Self {
        Self { need: Need::Program, ..self }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
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
