//! What a capture with `--hash-keys` shows of keys, and what it does not.

mod support;

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mcrec_schema::pseudonym::METHOD;
use support::{
    capture::{self, Row},
    client::{Client, Logged, Protocol},
    recorder::{Recorder, run},
    server::Server,
};

const SECRET: &str = "8f14e45fceea167a5a36dedd4bea2543";
const OTHER_SECRET: &str = "8f14e45fceea167a5a36dedd4bea2542";

/// Segments of keys that occur nowhere else.
const SEGMENTS: [&str; 5] = ["walrus", "kestrel", "marmot", "zażółć", "iguana"];

fn write_secret(path: &Path, secret: &str) {
    fs::write(path, format!("{secret}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The pseudonyms of keys by another implementation.
fn pseudonyms(secret: &str, keys: &[Vec<u8>]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/pseudonyms.py");
    let mut python = Command::new("python3")
        .arg(script)
        .arg(secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let hex = |key: &Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> = keys.iter().map(hex).collect();
    python.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "walrus:10001:kestrel",
        "walrus:10002:kestrel",
        "kestrel/marmot.walrus",
        "walrus",
        "::marmot//.",
        "zażółć:\u{1b}[31mmarmot",
    ]
    .map(|key| key.as_bytes().to_vec())
    .to_vec();
    keys.push(b"iguana:\xff\xfe:marmot".to_vec());
    keys.push([b"iguana/".as_slice(), &[b'k'; 243]].concat());
    keys
}

/// Does the same each time, and returns what was done.
fn drive(server: &Server) -> Vec<Logged> {
    let keys = keys();
    let mut client = Client::connect(server.address, Protocol::Text);
    for (number, key) in keys.iter().enumerate() {
        client.store("set", key, &vec![b'v'; number], "");
        client.get("get", std::slice::from_ref(key));
        client.on_key("delete", key, "");
    }
    client.get("get", &keys[..3]);
    let mut log = client.log;
    let mut client = Client::connect(server.address, Protocol::Binary);
    for key in &keys {
        client.binary("set", key, b"value");
        client.binary("get", key, b"");
        client.binary("delete", key, b"");
    }
    log.extend(client.log);
    log
}

fn record(server: &Server, path: &Path, key_file: &Path, source: &str) -> (Vec<Row>, Vec<Logged>) {
    let key_file = key_file.to_str().unwrap();
    let arguments = ["--hash-keys", key_file, "--source", source];
    let mut recorder = Recorder::start(server.pid(), path, &arguments);
    let log = drive(server);
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    for secret in [SECRET, OTHER_SECRET] {
        assert!(!said.contains(secret), "{said}");
    }
    let mut rows = capture::rows(path);
    rows.sort_by_key(|row| (row.conn_id, row.request_id, row.key_index));
    (rows, log)
}

/// Everything that a capture says in words, and its bytes.
fn assert_kept_out(path: &Path, secrets: &[&str]) {
    let bytes = fs::read(path).unwrap();
    let footer = format!("{:?}", capture::footer(path));
    let rows = capture::all_rows(path);
    for secret in secrets {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        assert!(!footer.contains(secret), "{footer}");
        for row in &rows {
            assert!(!String::from_utf8_lossy(&row.key).contains(secret), "{row:?}");
            assert!(!format!("{:?}", row.client).contains(secret), "{row:?}");
        }
    }
}

#[test]
fn keys_are_hidden_and_all_else_is_as_without() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_secret(&at("secret"), SECRET);
    write_secret(&at("other"), OTHER_SECRET);
    let server = Server::start("1.6.18", &[]);
    for source in ["syscalls", "usdt"] {
        let paths: [PathBuf; 3] =
            ["one", "two", "three"].map(|name| at(&format!("{source}-{name}")));
        let (one, log) = record(&server, &paths[0], &at("secret"), source);
        let (two, _) = record(&server, &paths[1], &at("secret"), source);
        let (three, _) = record(&server, &paths[2], &at("other"), source);

        let keys: Vec<Vec<u8>> = log.iter().map(|logged| logged.key.clone()).collect();
        let expected = pseudonyms(SECRET, &keys);
        assert_eq!(one.len(), log.len());
        for ((row, logged), pseudonym) in one.iter().zip(&log).zip(&expected) {
            assert_eq!(row.key, pseudonym.as_bytes(), "{}", logged.key.escape_ascii());
            assert_eq!(row.key_len, i64::try_from(logged.key.len()).unwrap());
            assert_eq!(row.status, logged.status);
            let size = logged.value_size.map(|size| i64::try_from(size).unwrap());
            assert_eq!(row.value_size, size);
        }
        let keys_of = |rows: &[Row]| rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys_of(&one), keys_of(&two), "one secret, one pseudonym");
        let expected = pseudonyms(OTHER_SECRET, &keys);
        for (row, pseudonym) in three.iter().zip(&expected) {
            assert_eq!(row.key, pseudonym.as_bytes());
        }
        let segments = |rows: &[Row]| -> Vec<Vec<u8>> {
            let is_delimiter = |byte: &u8| b":/.".contains(byte);
            let parts = rows.iter().flat_map(|row| row.key.split(is_delimiter).map(<[u8]>::to_vec));
            parts.filter(|part| !part.is_empty()).collect()
        };
        let of_three = segments(&three);
        assert!(!segments(&one).iter().any(|segment| of_three.contains(segment)));
        for path in &paths {
            assert_kept_out(path, &SEGMENTS);
            assert_kept_out(path, &[SECRET, OTHER_SECRET]);
            let footer = capture::footer(path).unwrap();
            assert_eq!(footer.privacy.keys_hashed.as_deref(), Some(METHOD));
        }
    }
    let plain = at("plain");
    let mut recorder = Recorder::start(server.pid(), &plain, &[]);
    drive(&server);
    server.settle(0);
    assert!(recorder.interrupt().0.success());
    assert_eq!(capture::footer(&plain).unwrap().privacy.keys_hashed, None);
    // What is looked for above is found where it is.
    assert!(std::panic::catch_unwind(|| assert_kept_out(&plain, &SEGMENTS)).is_err());
}

#[test]
fn credentials_have_no_pseudonym_either() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_secret(&at("secret"), SECRET);
    fs::write(at("users"), "user:swordfish\n").unwrap();
    let server = Server::start("plain-1.6.38", &["-Y", at("users").to_str().unwrap()]);
    let arguments = ["--hash-keys", at("secret").to_str().unwrap()].map(str::to_owned);
    let arguments = [arguments[0].as_str(), arguments[1].as_str()];
    let mut recorder = Recorder::start(server.pid(), &at("capture"), &arguments);
    let mut client = Client::connect(server.address, Protocol::Text);
    client.store("set", b"anything", b"user swordfish", "");
    client.store("set", b"walrus", b"value", "");
    drop(client);
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let rows = capture::rows(&at("capture"));
    let shown: Vec<(&str, usize)> =
        rows.iter().map(|row| (row.op.as_str(), row.key.len())).collect();
    assert_eq!(shown, [("auth", 0), ("set", 16)]);
    let words = ["swordfish", "user swordfish", "anything", "user"];
    let hidden = pseudonyms(SECRET, &words.map(|word| word.as_bytes().to_vec()));
    assert_kept_out(&at("capture"), &["swordfish", "walrus"]);
    assert_kept_out(&at("capture"), &hidden.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_key_file_that_is_not_safe_is_refused_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_secret(&at("secret"), SECRET);
    write_secret(&at("open"), SECRET);
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o640)).unwrap();
    write_secret(&at("short"), &SECRET[2..]);
    symlink(at("secret"), at("link")).unwrap();
    let server = Server::start("1.6.18", &[]);
    let pid = server.pid().to_string();
    for (key_file, says) in [
        ("open", "chmod 600"),
        ("short", "32 hexadecimal digits"),
        ("link", "symbolic link"),
        ("missing", "openssl rand -hex 16"),
        (".", "not a regular file"),
    ] {
        let (key_file, output) = (at(key_file), at("capture"));
        let output = output.to_str().unwrap();
        let arguments = ["-p", &pid, "-o", output, "--hash-keys", key_file.to_str().unwrap()];
        let refused = run(&arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(says) && !said.contains(&SECRET[2..]), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "{said}");
    }
}
