//! The shape of the names that clients give to keys, found in the keys themselves:
//! `user:17:profile` and `user:18:profile` are both `user:*:profile`. Pure.
//!
//! Keys are cut at delimiters into segments. What is an id in a segment (digits,
//! hashes, UUIDs, bytes that are no text) becomes `*` at once; where a namespace has
//! more names in it than people would give, the names become `*` too.

use std::collections::BTreeMap;

/// What stands for whatever varies.
const ANY: &str = "*";
/// Between namespaces, wherever they are.
const STRONG: [char; 4] = [':', '/', '.', '|'];
/// Between namespaces, where keys have none of the above.
const WEAK: [char; 4] = ['_', '-', '#', ','];
/// A namespace that has more names than this has ids for names,
const NAMES_MAX: usize = 64;
/// the outermost one if it has more than this.
const ROOTS_MAX: usize = 512;
/// The rest of a key with more segments is one segment.
const DEPTH_MAX: usize = 8;
/// With more names in all, the namespaces that have too many are cut down at once.
const NODES_MAX: usize = 100_000;

/// The namespaces of a capture.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    weak: bool,
    root: Namespace,
    nodes: usize,
}

/// The names in a namespace, each with the delimiter after it.
#[derive(Clone, Debug, Default)]
struct Namespace {
    names: BTreeMap<String, Namespace>,
}

/// How many keys have delimiters of which kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delimiters {
    keys: u64,
    strong: u64,
}

impl Delimiters {
    /// Takes note of a key.
    pub(crate) fn see(&mut self, key: &str) {
        self.keys += 1;
        self.strong += u64::from(key.contains(STRONG));
    }

    /// Takes in what another saw.
    pub(crate) fn merge(&mut self, other: Self) {
        self.keys += other.keys;
        self.strong += other.strong;
    }
}

impl Shape {
    /// Of keys with such delimiters; it has yet to [see](Shape::see) them.
    pub(crate) fn with(delimiters: Delimiters) -> Self {
        // A tenth: other keys may have no namespaces at all.
        let weak = delimiters.strong * 10 < delimiters.keys;
        Self { weak, ..Self::default() }
    }

    /// Takes note of a key.
    pub(crate) fn see(&mut self, key: &str) {
        let mut namespace = &mut self.root;
        for segment in segments(key, self.weak) {
            let name = collapsed(segment);
            // A name is looked for before it is kept: most are there.
            if !namespace.names.contains_key(&name) {
                namespace.names.insert(name.clone(), Namespace::default());
                self.nodes += 1;
            }
            match namespace.names.get_mut(&name) {
                Some(inner) => namespace = inner,
                None => return,
            }
        }
        if self.nodes > NODES_MAX {
            self.cut_down();
        }
    }

    /// Takes in what another saw of keys with the same delimiters.
    pub(crate) fn merge(&mut self, other: Self) {
        self.root.merge(other.root);
    }

    /// Makes ids of the names of which there are too many.
    pub(crate) fn cut_down(&mut self) {
        self.root.cut_down(ROOTS_MAX, self.weak);
        self.nodes = self.root.count();
    }

    /// What the key has in common with others.
    pub(crate) fn prefix(&self, key: &str) -> String {
        let mut prefix = String::with_capacity(key.len());
        let mut namespace = Some(&self.root);
        for segment in segments(key, self.weak) {
            let mut name = collapsed(segment);
            if let Some(inside) = namespace
                && !inside.names.contains_key(&name)
            {
                name = any_with_delimiter_of(segment, self.weak);
            }
            namespace = namespace.and_then(|inside| inside.names.get(&name));
            prefix.push_str(&name);
        }
        prefix
    }

    /// The namespaces that a prefix lies in, outermost first, and the prefix itself.
    pub(crate) fn path(&self, prefix: &str) -> Vec<String> {
        let mut end = 0;
        let ends = segments(prefix, self.weak).map(|segment| {
            end += segment.len();
            end
        });
        ends.map(|end| prefix[..end].to_owned()).collect()
    }
}

impl Namespace {
    fn merge(&mut self, other: Self) {
        for (name, theirs) in other.names {
            self.names.entry(name).or_default().merge(theirs);
        }
    }

    /// Those with one delimiter after them are counted, and made ids, by themselves.
    fn cut_down(&mut self, most: usize, weak: bool) {
        if self.names.len() > most {
            let mut kept: BTreeMap<String, Self> = BTreeMap::new();
            for (name, inner) in std::mem::take(&mut self.names) {
                let name = any_with_delimiter_of(&name, weak);
                kept.entry(name).or_default().merge(inner);
            }
            self.names = kept;
        }
        for inner in self.names.values_mut() {
            inner.cut_down(NAMES_MAX, weak);
        }
    }

    fn count(&self) -> usize {
        self.names.values().map(|inner| 1 + inner.count()).sum()
    }
}

/// The segments of a key, each with the delimiter after it.
fn segments(key: &str, weak: bool) -> impl Iterator<Item = &str> {
    let delimiters = if weak { WEAK } else { STRONG };
    key.splitn(DEPTH_MAX, delimiters).scan(0, move |at, segment| {
        let begin = *at;
        let end = begin + segment.len();
        let delimiter = key[end..].chars().next().map_or(0, char::len_utf8);
        *at = end + delimiter;
        Some(&key[begin..*at])
    })
}

fn any_with_delimiter_of(segment: &str, weak: bool) -> String {
    let delimiters = if weak { WEAK } else { STRONG };
    match segment.chars().next_back().filter(|c| delimiters.contains(c)) {
        Some(delimiter) => format!("{ANY}{delimiter}"),
        None => ANY.to_owned(),
    }
}

/// A segment with `*` in the place of the ids in it.
fn collapsed(segment: &str) -> String {
    let mut name = String::with_capacity(segment.len());
    for token in segment.split_inclusive(|c: char| !c.is_alphanumeric() && c != '\\') {
        let word = token.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '\\');
        let after = &token[word.len()..];
        push(&mut name, &without_ids(word));
        name.push_str(after);
    }
    // A UUID is five tokens that are all ids.
    while name.contains("*-*") {
        name = name.replace("*-*", ANY);
    }
    name
}

/// Adds a word; of two `*` that meet, one is enough.
fn push(name: &mut String, word: &str) {
    let word = if name.ends_with(ANY) { word.trim_start_matches(ANY) } else { word };
    name.push_str(word);
}

fn without_ids(word: &str) -> String {
    if is_id(word) {
        return ANY.to_owned();
    }
    let mut text = String::with_capacity(word.len());
    for c in word.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with(ANY) {
            text.push_str(ANY);
        }
    }
    text
}

/// Whether a word is an id as a whole: a hash, something in base 64 or in bytes.
fn is_id(word: &str) -> bool {
    if word.contains("\\x") {
        return true;
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().all(|b| b.is_ascii_hexdigit());
    let upper = word.bytes().any(|b| b.is_ascii_uppercase());
    let lower = word.bytes().any(|b| b.is_ascii_lowercase());
    (hex && digits > 0 && word.len() >= 4)
        || (word.len() >= 16 && digits > 1)
        || (word.len() >= 20 && upper && lower)
}

#[cfg(test)]
mod tests {
    use super::{Delimiters, NAMES_MAX, Shape, collapsed};

    fn shape(keys: &[String]) -> Shape {
        let mut delimiters = Delimiters::default();
        keys.iter().for_each(|key| delimiters.see(key));
        let mut shape = Shape::with(delimiters);
        keys.iter().for_each(|key| shape.see(key));
        shape.cut_down();
        shape
    }

    #[test]
    fn ids_are_no_names() {
        for (segment, name) in [
            ("17", "*"),
            ("user17", "user*"),
            ("v2_3:", "v*_*:"),
            ("3f2a9c0d", "*"),
            ("session-e4d971771b652c20", "session-*"),
            ("550e8400-e29b-41d4-a716-446655440000", "*"),
            ("\\xff\\x00", "*"),
            ("dGhpcyBpcyBhIHRlc3Qx", "*"),
            ("profile", "profile"),
            ("feedback", "feedback"),
            ("", ""),
        ] {
            assert_eq!(collapsed(segment), name, "{segment}");
        }
    }

    #[test]
    fn namespaces_are_found_by_themselves() {
        let named = |n: usize| format!("{}{}", ["al", "bo", "cy"][n % 3], "x".repeat(n / 3));
        let mut keys: Vec<String> = (0..1000).map(|n| format!("user:{n}:profile")).collect();
        keys.extend((0..3 * NAMES_MAX).map(|n| format!("name:{}:photo", named(n))));
        keys.extend((0..10).map(|n| format!("list:{}", named(n))));
        let shape = shape(&keys);
        assert_eq!(shape.prefix("user:7:profile"), "user:*:profile");
        assert_eq!(shape.prefix("name:bo:photo"), "name:*:photo");
        assert_eq!(shape.prefix("list:bo"), "list:bo");
        assert_eq!(shape.path("user:*:profile"), ["user:", "user:*:", "user:*:profile"]);
    }

    #[test]
    fn other_delimiters_separate_where_there_are_no_better_ones() {
        let keys: Vec<String> = (0..100).map(|n| format!("user_{n}_profile")).collect();
        let shape = shape(&keys);
        assert_eq!(
            shape.path(&shape.prefix("user_7_profile")),
            ["user_", "user_*_", "user_*_profile"]
        );
    }
}
