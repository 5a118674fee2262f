//! Conversations, in groups that each end with a reply that is surely theirs.

use super::{Step, Vector};

/// A text request without a value. In `reply` a value stands between two `|`.
pub fn ask(request: &str, reply: &str, expected: &[&str]) -> Step {
    store(request, "", reply, expected)
}

pub fn store(request: &str, body: &str, reply: &str, expected: &[&str]) -> Step {
    let reply = (reply.split('|').enumerate())
        .map(|(at, part)| Vector { bytes: part.as_bytes().to_vec(), value: at % 2 == 1 })
        .collect();
    Step {
        request: request.as_bytes().to_vec(),
        body: body.as_bytes().to_vec(),
        buffered: false,
        reply,
        expected: expected.iter().map(|&line| line.to_owned()).collect(),
    }
}

pub fn text() -> Vec<Vec<Step>> {
    let long = "x".repeat(251);
    let big = "v".repeat(20_000);
    let many: Vec<String> = (0..900).map(|at| format!("some_long_prefix:{at:04}")).collect();
    let (mut values, mut told) = (String::new(), Vec::new());
    for (at, key) in many.iter().enumerate() {
        if at % 3 == 0 {
            values += &format!("VALUE {key} 0 2|ok\r\n|").replace("2|", "2\r\n|");
            told.push(format!("Get {key} Hit v2 f0"));
        } else {
            told.push(format!("Get {key} Miss"));
        }
    }
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let multi = ask(&format!("get {}\r\n", many.join(" ")), &(values + "END\r\n"), &told);
    // Values that look like replies, the first also at its end and from some bytes on.
    let (key, short, nasty) =
        ("k".repeat(200), "x|VALUE x 0 5", "VALUE x 0 5\r\nVA 2\r\n".repeat(50));
    let short = short.replace('|', "\r\n");
    let looks = |key: &str, value: &str| {
        let size = value.len();
        let reply = format!("VALUE {key} 0 {size}\r\n|{value}\r\n|END\r\n");
        vec![ask(&format!("get {key}\r\n"), &reply, &[&format!("Get {key} Hit v{size} f0")])]
    };
    vec![
        looks("a", &short),
        looks("a", &nasty),
        looks(&key, &nasty),
        vec![ask(
            "get a b c\r\n",
            &format!(
                "VALUE a 0 {0}\r\n|{1}\r\n|VALUE c 0 {0}\r\n|{1}\r\n|END\r\n",
                short.len(),
                short
            ),
            &["Get a Hit v14 f0", "Get b Miss", "Get c Hit v14 f0"],
        )],
        vec![ask("get a\r\n", "VALUE a 5 3\r\n|abc\r\n|END\r\n", &["Get a Hit v3 f5"])],
        vec![ask("get a\n", "END\r\n", &["Get a Miss"])],
        vec![ask(
            "gets a b c\r\n",
            "VALUE b 0 0 18446744073709551615\r\n|\r\n|END\r\n",
            &["Gets a Miss", "Gets b Hit v0 f0 c18446744073709551615", "Gets c Miss"],
        )],
        vec![ask(
            "get a VALUE END\r\n",
            "VALUE VALUE 1 5\r\n|END\r\n\r\n|VALUE END 2 9\r\n|VALUE a\r\n\r\n|END\r\n",
            &["Get a Miss", "Get VALUE Hit v5 f1", "Get END Hit v9 f2"],
        )],
        vec![multi],
        vec![ask(
            "gat 100 a b\r\n",
            "VALUE b 7 1\r\n|x\r\n|END\r\n",
            &["Gat a Miss t100", "Gat b Hit v1 f7 t100"],
        )],
        vec![ask("gats -1 a\r\n", "VALUE a 0 1 9\r\n|x\r\n|END\r\n", &["Gats a Hit v1 f0 c9 t-1"])],
        vec![store("set a 5 0 3\r\n", "abc\r\n", "STORED\r\n", &["Set a Stored v3 f5 t0"])],
        vec![store(
            "set a 0 60 20000\r\n",
            &(big.clone() + "\r\n"),
            "STORED\r\n",
            &["Set a Stored v20000 f0 t60"],
        )],
        vec![
            store("set a 0 0 1 noreply\r\n", "x\r\n", "", &["Set a NoReply v1 f0 t0 q ~"]),
            ask("delete a noreply\r\n", "", &["Delete a NoReply q ~"]),
            ask("touch a 5 noreply\r\n", "", &["Touch a NoReply t5 q ~"]),
            ask("incr a 1 noreply\r\n", "", &["Incr a NoReply q ~"]),
            ask("flush_all noreply\r\n", "", &["FlushAll - NoReply q ~"]),
            ask("verbosity 1 noreply\r\n", "", &["Other - NoReply q ~"]),
        ],
        vec![store("add a 0 0 1\r\n", "x\r\n", "NOT_STORED\r\n", &["Add a NotStored v1 f0 t0"])],
        vec![store(
            "replace a 0 0 1\r\n",
            "x\r\n",
            "NOT_STORED\r\n",
            &["Replace a NotStored v1 f0 t0"],
        )],
        vec![store("append a 0 0 1\r\n", "x\r\n", "STORED\r\n", &["Append a Stored v1 f0 t0"])],
        vec![store("prepend a 0 0 1\r\n", "x\r\n", "STORED\r\n", &["Prepend a Stored v1 f0 t0"])],
        vec![store("cas a 0 0 1 77\r\n", "x\r\n", "EXISTS\r\n", &["Cas a Exists v1 f0 C77 t0"])],
        vec![store(
            "cas a 0 0 1 77\r\n",
            "x\r\n",
            "NOT_FOUND\r\n",
            &["Cas a NotFound v1 f0 C77 t0"],
        )],
        vec![store(
            "set a 0 0 3\r\n",
            "abcde",
            "CLIENT_ERROR bad data chunk\r\n",
            &["Set a ClientError v3 f0 t0"],
        )],
        vec![store(
            "set a 0 0 19998\r\n",
            &big,
            "SERVER_ERROR object too large for cache\r\n",
            &["Set a ServerError v19998 f0 t0"],
        )],
        vec![ask("incr a 1\r\n", "12\r\n", &["Incr a Ok"])],
        vec![ask("decr a 1\r\n", "NOT_FOUND\r\n", &["Decr a NotFound"])],
        vec![ask(
            "incr a 1\r\n",
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            &["Incr a ClientError"],
        )],
        vec![ask("touch a 30\r\n", "TOUCHED\r\n", &["Touch a Touched t30"])],
        vec![ask("delete a\r\n", "DELETED\r\n", &["Delete a Deleted"])],
        vec![ask("delete a 0\r\n", "NOT_FOUND\r\n", &["Delete a NotFound"])],
        vec![ask("flush_all 10\r\n", "OK\r\n", &["FlushAll - Ok t10"])],
        vec![ask("version\r\n", "VERSION 1.6.38\r\n", &["Version - Ok"])],
        vec![ask("verbosity 1\r\n", "OK\r\n", &["Other - Ok"])],
        vec![ask("stats\r\n", "STAT pid 1\r\nSTAT x END\r\nEND\r\n", &["Stats - Ok"])],
        vec![ask("stats reset\r\n", "RESET\r\n", &["Stats - Ok"])],
        vec![ask("stats items\r\n", "END\r\n", &["Stats - Ok"])],
        vec![ask("cache_memlimit 64\r\n", "OK\r\n", &["Other - Ok"])],
        vec![ask("nonsense\r\n", "ERROR\r\n", &["Other - Error"])],
        vec![ask("get\r\n", "ERROR\r\n", &["Get - Error"])],
        vec![ask("\r\n", "ERROR\r\n", &["Other - Error"])],
        vec![ask(
            &format!("get {long}\r\n"),
            "CLIENT_ERROR bad command line format\r\n",
            &["Get [251] ClientError"],
        )],
        vec![ask(
            "get a b\r\n",
            "SERVER_ERROR out of memory writing get response\r\n",
            &["Get a ServerError", "Get b ServerError"],
        )],
        vec![ask("mn\r\n", "MN\r\n", &["Noop - Ok"])],
    ]
}

pub fn meta() -> Vec<Vec<Step>> {
    vec![
        vec![ask("mg a v\r\n", "VA 14\r\n|x\r\nVALUE x 0 5\r\n|", &["Get a Hit v14"])],
        vec![ask("mg a v f c\r\n", "VA 3 f5 c9\r\n|abc\r\n|", &["Get a Hit v3 f5 c9"])],
        vec![ask("mg a s\r\n", "HD s12\r\n", &["Get a Hit v12"])],
        vec![ask("mg a k Oxyz\r\n", "EN Oxyz ka\r\n", &["Get a Miss"])],
        vec![ask("mg a v k Oxyz\r\n", "EN\r\n", &["Get a Miss"])],
        vec![ask("mg Zm9v b k v\r\n", "VA 1 kZm9v b\r\n|x\r\n|", &["Get foo Hit v1"])],
        vec![ask("mg a T30 v\r\n", "VA 0\r\n|\r\n|", &["Gat a Hit v0 t30"])],
        vec![store("ms a 3 T60 F7\r\n", "abc\r\n", "HD\r\n", &["Set a Stored v3 f7 t60"])],
        vec![store("ms a 3 ME\r\n", "abc\r\n", "NS\r\n", &["Add a NotStored v3"])],
        vec![store("ms a 3 C5\r\n", "abc\r\n", "EX\r\n", &["Cas a Exists v3 C5"])],
        vec![store("ms a 2 MA\r\n", "xy\r\n", "HD\r\n", &["Append a Stored v2"])],
        vec![store(
            "ms a 2\r\n",
            "xyzz",
            "CLIENT_ERROR bad data chunk\r\n",
            &["Set a ClientError v2"],
        )],
        vec![ask("md a\r\n", "HD\r\n", &["Delete a Deleted"])],
        vec![ask("md a\r\n", "NF\r\n", &["Delete a NotFound"])],
        vec![ask("ma a v\r\n", "VA 2\r\n|12\r\n|", &["Incr a Ok"])],
        vec![ask("ma a MD N60\r\n", "HD\r\n", &["Decr a Ok t60"])],
        vec![ask("me a\r\n", "ME a exp=-1 la=1 cas=2 fetch=no cls=1 size=63\r\n", &["Debug a Ok"])],
        vec![ask("me a\r\n", "EN\r\n", &["Debug a NotFound"])],
        vec![ask("mn\r\n", "MN\r\n", &["Noop - Ok"])],
        vec![ask("mg\r\n", "ERROR\r\n", &["Get - Error"])],
        // Told apart by their opaque tokens or keys.
        vec![
            ask("mg a q v O1\r\n", "", &["Get a Miss q ~"]),
            ask("mg b q v O2\r\n", "VA 1 O2\r\n|x\r\n|", &["Get b Hit v1 q"]),
            ask("mg c q v O3\r\n", "", &["Get c Miss q ~"]),
            ask("mn\r\n", "MN\r\n", &["Noop - Ok"]),
        ],
        vec![
            ask("mg a q v k\r\n", "VA 2 ka\r\n|MN\r\n|", &["Get a Hit v2 q"]),
            ask("mg b q v k\r\n", "", &["Get b Miss q ~"]),
            ask("mg b k v\r\n", "EN kb\r\n", &["Get b Miss"]),
        ],
        vec![
            store("ms b 1 q ME\r\n", "x\r\n", "NS\r\n", &["Add b NotStored v1 q"]),
            ask("md c q\r\n", "", &["Delete c Deleted q ~"]),
            ask("mn\r\n", "MN\r\n", &["Noop - Ok"]),
        ],
        vec![
            store("ms a 1 q\r\n", "x\r\n", "", &["Set a Stored v1 q ~"]),
            ask("ma d q\r\n", "", &["Incr d Ok q ~"]),
            ask("mn\r\n", "MN\r\n", &["Noop - Ok"]),
        ],
        // As many replies as requests.
        vec![
            ask("mg a q\r\n", "HD\r\n", &["Get a Hit q"]),
            ask("mg b q\r\n", "HD\r\n", &["Get b Hit q"]),
            ask("mn\r\n", "MN\r\n", &["Noop - Ok"]),
        ],
        vec![
            ask("mg a q\r\n", "", &["Get a Miss q ~"]),
            ask("get a\r\n", "VALUE a 0 1\r\n|x\r\n|END\r\n", &["Get a Hit v1 f0"]),
        ],
    ]
}

/// A packet without its value.
pub fn front(
    magic: u8,
    opcode: u8,
    status: u16,
    extras: &[u8],
    key: &str,
    value: usize,
) -> Vec<u8> {
    let mut packet = vec![magic, opcode];
    packet.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
    packet.extend([u8::try_from(extras.len()).unwrap(), 0]);
    packet.extend(status.to_be_bytes());
    packet.extend(u32::try_from(extras.len() + key.len() + value).unwrap().to_be_bytes());
    packet.extend([0; 12]);
    packet.extend(extras);
    packet.extend(key.as_bytes());
    packet
}

fn with_opaque(mut packet: Vec<u8>, opaque: u8, cas: u8) -> Vec<u8> {
    (packet[15], packet[23]) = (opaque, cas);
    packet
}

pub struct Packet<'a> {
    pub opcode: u8,
    pub opaque: u8,
    pub cas: u8,
    pub extras: &'a [u8],
    pub key: &'a str,
    pub value: &'a str,
}

pub const PLAIN: Packet<'static> =
    Packet { opcode: 0, opaque: 0, cas: 0, extras: &[], key: "", value: "" };

/// A binary request; its replies are statuses with packets.
pub fn packet(request: &Packet<'_>, replies: &[(u16, Packet<'_>)], expected: &[&str]) -> Step {
    let of = |magic, status, packet: &Packet<'_>| {
        let bytes =
            front(magic, request.opcode, status, packet.extras, packet.key, packet.value.len());
        with_opaque(bytes, request.opaque, packet.cas)
    };
    let reply = replies.iter().flat_map(|(status, packet)| {
        let bytes = of(0x81, *status, packet);
        let (header, rest) = bytes.split_at(24);
        let vector = |bytes: &[u8], value| Vector { bytes: bytes.to_vec(), value };
        [vector(header, false), vector(rest, false), vector(packet.value.as_bytes(), true)]
    });
    Step {
        request: of(0x80, 0, request),
        body: request.value.as_bytes().to_vec(),
        buffered: false,
        reply: reply.collect(),
        expected: expected.iter().map(|&line| line.to_owned()).collect(),
    }
}

pub fn binary() -> Vec<Vec<Step>> {
    let get = |opcode, opaque, key, hit: bool, expected: &str| {
        let extras: &[u8] = &[0, 0, 0, 5];
        let named = if matches!(opcode, 0x0c | 0x0d) { key } else { "" };
        let value = Packet { cas: 9, extras, key: named, value: "abc", ..PLAIN };
        let quiet = matches!(opcode, 0x09 | 0x0d);
        let replies = match (hit, quiet) {
            (true, _) => vec![(0, value)],
            (false, true) => vec![],
            (false, false) => vec![(1, Packet { value: "Not found", ..PLAIN })],
        };
        packet(&Packet { opcode, opaque, key, ..PLAIN }, &replies, &[expected])
    };
    let plain = |opcode, extras, key, status, expected: &str| {
        packet(&Packet { opcode, extras, key, ..PLAIN }, &[(status, PLAIN)], &[expected])
    };
    let put = |opcode, opaque, cas, replies: &[(u16, Packet<'_>)], expected: &str| {
        let extras: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 60];
        let request = Packet { opcode, opaque, cas, extras, key: "a", value: "some value" };
        packet(&request, replies, &[expected])
    };
    let noop = || plain(0x0a, &[], "", 0, "Noop - Ok");
    let counter: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 60];
    vec![
        vec![get(0x00, 0, "a", true, "Get a Hit v3 f5 c9")],
        vec![get(0x0c, 0, "a", true, "Get a Hit v3 f5 c9")],
        vec![get(0x00, 0, "a", false, "Get a Miss")],
        vec![
            get(0x0d, 0, "a", false, "Get a Miss q ~"),
            get(0x0d, 0, "b", true, "Get b Hit v3 f5 c9 q"),
            noop(),
        ],
        vec![
            get(0x09, 1, "a", true, "Get a Hit v3 f5 c9 q"),
            get(0x09, 2, "b", false, "Get b Miss q ~"),
            get(0x09, 3, "c", true, "Get c Hit v3 f5 c9 q"),
            noop(),
        ],
        vec![put(0x01, 0, 0, &[(0, Packet { cas: 3, ..PLAIN })], "Set a Stored v10 f7 c3 t60")],
        vec![put(0x01, 0, 4, &[(2, PLAIN)], "Cas a Exists v10 f7 C4 t60")],
        vec![put(
            0x02,
            0,
            0,
            &[(2, Packet { value: "Data exists", ..PLAIN })],
            "Add a Exists v10 f7 t60",
        )],
        vec![put(0x03, 0, 0, &[(1, PLAIN)], "Replace a NotFound v10 f7 t60")],
        vec![put(
            0x01,
            0,
            0,
            &[(3, Packet { value: "Too large.", ..PLAIN })],
            "Set a ServerError v10 f7 t60",
        )],
        vec![
            put(0x11, 1, 0, &[], "Set a Stored v10 f7 t60 q ~"),
            put(0x12, 2, 0, &[(2, PLAIN)], "Add a Exists v10 f7 t60 q"),
            noop(),
        ],
        vec![plain(0x04, &[], "a", 0, "Delete a Deleted")],
        vec![plain(0x05, counter, "a", 0, "Incr a Ok t60")],
        vec![plain(0x06, counter, "a", 6, "Decr a ClientError t60")],
        vec![plain(0x1c, &[0, 0, 0, 9], "a", 0, "Touch a Touched t9")],
        vec![plain(0x08, &[], "", 0, "FlushAll - Ok")],
        vec![plain(0x0b, &[], "", 0, "Version - Ok")],
        vec![packet(
            &Packet { opcode: 0x10, ..PLAIN },
            &[(0, Packet { key: "pid", value: "17", ..PLAIN }), (0, PLAIN)],
            &["Stats - Ok"],
        )],
        vec![noop()],
    ]
}

/// Groups of which the replies may be one request's or another's, when they are
/// sent together; here with what really happened.
pub fn ambiguous() -> Vec<Vec<Step>> {
    let noop = || ask("mn\r\n", "MN\r\n", &["Noop - Ok"]);
    vec![
        vec![
            ask("mg a q\r\n", "HD\r\n", &["Get a Hit q"]),
            ask("mg b q\r\n", "", &["Get b Miss q ~"]),
            noop(),
        ],
        vec![
            ask("mg a q\r\n", "HD\r\n", &["Get a Hit q"]),
            ask("mg b\r\n", "HD\r\n", &["Get b Hit"]),
            ask("mg c q\r\n", "", &["Get c Miss q ~"]),
            noop(),
        ],
        vec![
            store("ms a 1 q\r\n", "x\r\n", "", &["Set a Stored v1 q ~"]),
            store("ms b 1 q ME\r\n", "x\r\n", "NS\r\n", &["Add b NotStored v1 q"]),
            ask("ma c q\r\n", "", &["Incr c Ok q ~"]),
            noop(),
        ],
        vec![ask(
            "get a a\r\n",
            "VALUE a 0 1\r\n|x\r\n|END\r\n",
            &["Get a Miss", "Get a Hit v1 f0"],
        )],
    ]
}

/// The same without regard to how sure it is: command and key.
pub fn asked(line: &str) -> Vec<&str> {
    line.split(' ').take(2).collect()
}
