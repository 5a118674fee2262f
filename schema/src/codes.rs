//! The words that stand in the columns `op`, `status` and `protocol`.

/// Defines an enum whose variants are the words of a column, in the order in
/// which the recorder numbers them inside a file.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$word_doc])* #[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it stands in the column.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What `word` stands for, if it is one of them.
            pub fn named(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// What was asked of the server (column `op`).
    Op {
        Get = "get",
        Gets = "gets",
        Gat = "gat",
        Gats = "gats",
        Touch = "touch",
        Set = "set",
        Add = "add",
        Replace = "replace",
        Append = "append",
        Prepend = "prepend",
        Cas = "cas",
        Incr = "incr",
        Decr = "decr",
        Delete = "delete",
        FlushAll = "flush_all",
        Stats = "stats",
        Version = "version",
        Noop = "noop",
        Debug = "debug",
        Quit = "quit",
        Auth = "auth",
        Watch = "watch",
        Other = "other",
        /// A connection began; not a request.
        Connect = "connect",
        /// A connection ended; not a request.
        Disconnect = "disconnect",
    }
}

impl Op {
    /// Operations that read a value: they hit or miss.
    pub const READS: [Self; 4] = [Self::Get, Self::Gets, Self::Gat, Self::Gats];
    /// Operations that send a value to keep.
    pub const STORES: [Self; 6] =
        [Self::Set, Self::Add, Self::Replace, Self::Append, Self::Prepend, Self::Cas];
    /// Other operations that change what a key has.
    pub const CHANGES: [Self; 3] = [Self::Incr, Self::Decr, Self::Delete];
    /// A connection's beginning and end, which are no operations.
    pub const CONNECTIONS: [Self; 2] = [Self::Connect, Self::Disconnect];

    /// Whether a word of the column is one of these.
    pub fn is_in(ops: &[Self], word: &str) -> bool {
        ops.iter().any(|op| op.as_str() == word)
    }
}

words! {
    /// What became of it (column `status`).
    Status {
        Hit = "hit",
        Miss = "miss",
        Stored = "stored",
        NotStored = "not_stored",
        Exists = "exists",
        NotFound = "not_found",
        Deleted = "deleted",
        Touched = "touched",
        Ok = "ok",
        Error = "error",
        ClientError = "client_error",
        ServerError = "server_error",
        NoReply = "no_reply",
        /// The source cannot tell, or the request never arrived whole, so that nothing
        /// happened. Never a guess.
        Unknown = "unknown",
    }
}

words! {
    /// How it was asked (column `protocol`).
    Protocol {
        Text = "text",
        Meta = "meta",
        Binary = "binary",
    }
}
