//! Captures as other programs read them, and traces as captures.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use samples::{compare, mcanalyze, ran, sample, text};

const FORMS: [&str; 4] = ["csv", "jsonl", "cache-trace", "oracle-general"];

/// Makes a capture of a trace, and expects that status.
#[track_caller]
fn import(status: i32, trace: &Path, capture: &Path) -> String {
    let output = ran(status, &[&"import", &trace, &"-o", &capture, &"--force"]);
    if status < 2 {
        ran(0, &[&"check", &capture]);
    }
    text(&output.stderr)
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn exported(capture: &Path, form: &str) -> String {
    text(&ran(0, &[&"export", &capture, &"--as", &form]).stdout)
}

#[test]
fn other_programs_read_what_the_capture_has() {
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged.parquet");
    ran(0, &[&"merge", &sample("zipf.parquet"), &sample("hostile.parquet"), &"-o", &merged]);
    for capture in [sample("zipf.parquet"), sample("hostile.parquet"), merged] {
        for form in FORMS {
            let out = folder.path().join(form);
            ran(0, &[&"export", &capture, &"--as", &form, &"-o", &out, &"--force"]);
            compare("exchange.py", &[&form, &capture, &out]);
            let mode = fs::metadata(&out).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            // What goes to stdout is the same.
            let said = ran(0, &[&"export", &capture, &"--as", &form, &"-o", &"-"]);
            assert!(said.stdout == fs::read(&out).unwrap(), "{form}");
        }
    }
}

#[test]
fn filters_choose_what_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (zipf, out) = (sample("zipf.parquet"), folder.path().join("out"));
    for form in ["csv", "jsonl"] {
        let filter: [&dyn AsRef<OsStr>; 2] = [&"--op=get", &"--prefix=user:1"];
        ran(0, &[&"export", &zipf, &"--as", &form, &"-o", &out, &"--force", filter[0], filter[1]]);
        compare("exchange.py", &[&form, &zipf, &out, &"op = 'get' AND starts_with(key, 'user:1')"]);
    }
    let none = ran(0, &[&"export", &zipf, &"--as", &"csv", &"--key-is", &"never"]);
    assert_eq!(text(&none.stdout).lines().count(), 1);
    // What has no place in a trace is counted.
    let trace = ran(0, &[&"export", &zipf, &"--as", &"oracle-general", &"--op=get,delete"]);
    assert!(text(&trace.stderr).contains(" delete"), "{}", text(&trace.stderr));
    // Reads have the sizes that stores said, whether those are asked for or not.
    let [all, reads] = [&[][..], &[&"--op=get,gets,gat,gats" as &dyn AsRef<OsStr>]].map(|more| {
        ran(0, &[&[&"export" as &dyn AsRef<OsStr>, &zipf, &"--as=oracle-general"], more].concat())
    });
    assert!(all.stdout == reads.stdout && !all.stdout.is_empty());
    assert!(text(&all.stderr).contains("its requests are reads"), "{}", text(&all.stderr));
    // An incomplete capture is told from a complete one, and written as far as it goes.
    let lossy = ran(1, &[&"export", &sample("lossy.parquet"), &"--as", &"cache-trace"]);
    assert!(text(&lossy.stderr).contains("incomplete") && !lossy.stdout.is_empty());
}

#[test]
fn a_trace_that_was_exported_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, capture) = (folder.path().join("trace.csv"), folder.path().join("back.parquet"));
    for name in ["zipf.parquet", "hostile.parquet"] {
        let sample = sample(name);
        let written = exported(&sample, "cache-trace");
        fs::write(&trace, &written).unwrap();
        import(0, &trace, &capture);
        compare("exchange.py", &[&"imported", &sample, &capture]);
        // Once more, all is as it was.
        assert!(exported(&capture, "cache-trace") == written, "{name}");
        // Compressed, and through a pipe, it is the same.
        fs::write(&trace, zstd::encode_all(written.as_bytes(), 3).unwrap()).unwrap();
        import(0, &trace, &capture);
        compare("exchange.py", &[&"imported", &sample, &capture]);
        // gzip too, in two members, as of files that were compressed apart.
        let (one, other) = written.split_at(written.find('\n').unwrap() + 1);
        fs::write(&trace, [gzipped(one), gzipped(other)].concat()).unwrap();
        import(0, &trace, &capture);
        compare("exchange.py", &[&"imported", &sample, &capture]);
        // One that was cut off is refused.
        fs::write(&trace, &gzipped(&written)[..200]).unwrap();
        let said = text(&ran(2, &[&"import", &trace, &"-o", &capture, &"--force"]).stderr);
        assert!(said.contains("cannot read") && !said.contains("fields"), "{said}");
        let mut command = mcanalyze(&[&"import", &"-", &"-o", &capture, &"--force"]);
        let mut process = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(written.as_bytes()).unwrap();
        assert!(process.wait().unwrap().success());
        compare("exchange.py", &[&"imported", &sample, &capture]);
    }
}

#[test]
fn a_published_trace_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, capture) = (folder.path().join("trace.csv"), folder.path().join("back.parquet"));
    let (slice, merged) = (folder.path().join("slice.parquet"), folder.path().join("both.parquet"));
    let written = "100,nz:u:eeW511W3dcH3de3d15ec,22,304,0,get,0\n\
                   100,nz:u:eeW511W3dcH3de3d15ec,22,0,1,get,0\n\
                   102,nz:u:other,9,17,1,set,3600\n\
                   103,nz:u:other,9,0,0,set,0\n\
                   104,nz:u:other,9,0,9,delete,0\n";
    fs::write(&trace, written).unwrap();
    import(0, &trace, &capture);
    assert_eq!(exported(&capture, "cache-trace"), written);
    // A part of it is what those lines were.
    ran(0, &[&"slice", &capture, &"--from", &"+2s", &"--to", &"+4s", &"-o", &slice]);
    let lines: Vec<&str> = written.split_inclusive('\n').collect();
    assert_eq!(exported(&slice, "cache-trace"), lines[2..4].concat());
    ran(0, &[&"slice", &capture, &"--from", &"+4s", &"-o", &merged]);
    let last = merged;
    let merged = folder.path().join("merged.parquet");
    ran(0, &[&"merge", &slice, &last, &"-o", &merged]);
    assert_eq!(exported(&merged, "cache-trace"), lines[2..].concat());
}

#[test]
fn questions_about_a_trace_have_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, capture) = (folder.path().join("trace"), folder.path().join("trace.parquet"));
    let records = folder.path().join("records");
    // The key of another length than it had before it was anonymised.
    let lines = "100,nz:u:eeW511W3dcH3de3d15ec,22,304,0,get,0\n\
                 100,nz:u:eeW511W3dcH3de3d15ec,22,0,1,get,0\n\
                 102,nz:u:other,9,17,1,set,3600\n\
                 102,nz:u:other,9,5,1,append,3600\n\
                 103,nz:u:other,9,0,0,delete,0\n\
                 103,never,5,0,0,gets,0\n";
    fs::write(&trace, lines).unwrap();
    import(0, &trace, &capture);
    ran(0, &[&"export", &capture, &"--as", &"oracle-general", &"-o", &records]);
    compare("exchange.py", &[&"oracle-general", &capture, &records]);
    let answer: Value =
        serde_json::from_slice(&ran(0, &[&capture, &"--format", &"json"]).stdout).unwrap();
    let figure = |name: &str| answer["capture"][name].clone();
    assert_eq!(figure("operations"), 6);
    assert_eq!(figure("start"), "1970-01-01T00:01:40.000000Z");
    assert_eq!(figure("duration_s"), 4.0);
    assert_eq!((figure("hits"), figure("hit_ratio")), (0.into(), Value::Null));
    ran(0, &[&"latency", &capture]);
    ran(0, &[&capture, &"--by", &"op", &"--latency"]);
    let count =
        "SELECT status, count(*) AS n FROM capture WHERE latency_ns IS NULL GROUP BY status";
    let counted = ran(0, &[&"sql", &capture, &count, &"--format", &"csv"]);
    assert_eq!(text(&counted.stdout), "status,n\nunknown,6\n");
    let shown = text(&ran(0, &[&capture]).stdout);
    assert!(shown.contains("cache-trace") && shown.contains("hits and misses"), "{shown}");
    // It can be hashed, and is then as any other that is.
    let (secret, hashed) = (folder.path().join("secret"), folder.path().join("hashed.parquet"));
    fs::write(&secret, "8f14e45fceea167a5a36dedd4bea2543").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    ran(0, &[&"anonymise", &capture, &"--hash-keys", &secret, &"-o", &hashed]);
    ran(0, &[&"check", &hashed]);
    ran(2, &[&"merge", &capture, &hashed, &"-o", &folder.path().join("both.parquet")]);
}

#[test]
fn lines_that_are_none_of_a_trace_are_named_and_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, capture) = (folder.path().join("trace"), folder.path().join("trace.parquet"));
    let long = [b"0,".as_slice(), &vec![b'k'; 40_000], b",1,1,1,get,0\n"].concat();
    let lines: [&[u8]; 14] = [
        b"timestamp,key,key_size,value_size,client,op,ttl\n",
        b"5,first,5,10,0,get,0\r\n",
        b"\n",
        b"6,too,few,fields\n",
        b"6,a,key,with,1,commas,1,get,0\n",
        &long,
        b"6,\xff\x1b[2J,6,0,0,set,-1\n",
        b"5,late,4,0,0,get,0\n",
        b"5,c:\\temp,7,0,7,incr,0\n",
        b"7,key,3,0,0,GET,0\n",
        b"7,key,-3,0,0,get,0\n",
        b"7,key,3,0,9223372036854775807,get,0\n",
        b"253402300799,key,3,9223372036854775807,9223372036854775806,cas,9223372036854775807\n",
        b"7,no end of line,14,0,2,delete,0",
    ];
    fs::write(&trace, lines.concat()).unwrap();
    let said = import(1, &trace, &capture);
    assert!(said.contains("skipped 8 lines"), "{said}");
    for wrong in [
        // A header has as many fields as any line.
        "line 1: its timestamp",
        "line 4: it has 4 fields",
        "line 5: it has 9 fields",
        "line 6: it is too long",
        "line 8: it is of an earlier second",
    ] {
        assert!(said.contains(wrong), "{wrong:?} is not in: {said}");
    }
    assert!(!said.contains("line 10"), "{said}");
    let back = "5,first,5,10,0,get,0\n\
                6,\\xff\\x1b[2J,6,0,0,set,-1\n\
                5,c:\\x5ctemp,7,0,7,incr,0\n\
                253402300799,key,3,9223372036854775807,9223372036854775806,cas,9223372036854775807\n\
                7,no end of line,14,0,2,delete,0\n";
    assert_eq!(exported(&capture, "cache-trace"), back);
    let info = ran(0, &[&"info", &capture]);
    assert!(text(&info.stdout).contains("8 lines of the trace"));
}

#[test]
fn what_is_no_trace_is_refused_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("out.parquet");
    let noise = folder.path().join("noise");
    fs::write(&noise, vec![b'x'; 1 << 20]).unwrap();
    let cut = folder.path().join("cut");
    let whole = zstd::encode_all(&b"0,key,3,0,0,get,0\n".repeat(100_000)[..], 3).unwrap();
    fs::write(&cut, &whole[..whole.len() - 9]).unwrap();
    let files = [
        sample("README.md"),
        sample("zipf.parquet"),
        sample("missing"),
        PathBuf::from("/dev/null"),
        folder.path().to_owned(),
        noise,
        cut,
    ];
    let before = fs::read_dir(folder.path()).unwrap().count();
    for file in files {
        let output = ran(2, &[&"import", &file, &"-o", &capture]);
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "{}", file.display());
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (zipf, there) = (sample("hostile.parquet"), folder.path().join("there"));
    let (link, trace) = (folder.path().join("link"), folder.path().join("trace"));
    fs::write(&there, "precious").unwrap();
    symlink(&there, &link).unwrap();
    fs::write(&trace, "0,key,3,0,0,get,0\n").unwrap();
    for form in FORMS {
        ran(2, &[&"export", &zipf, &"--as", &form, &"-o", &there]);
        ran(2, &[&"export", &zipf, &"--as", &form, &"-o", &link, &"--force"]);
        let nowhere = folder.path().join("nowhere/out");
        ran(2, &[&"export", &zipf, &"--as", &form, &"-o", &nowhere]);
        // A capture that cannot be read to its end leaves nothing.
        let new = folder.path().join("new");
        ran(2, &[&"export", &sample("truncated.parquet"), &"--as", &form, &"-o", &new]);
        assert!(!new.exists() && !folder.path().join("new.partial").exists());
    }
    ran(2, &[&"import", &trace, &"-o", &there]);
    ran(2, &[&"import", &trace, &"-o", &"-"]);
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    ran(0, &[&"export", &zipf, &"--as", &"csv", &"-o", &there, &"--force"]);
    assert!(fs::read(&there).unwrap().starts_with(b"ts,op,"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is_one() {
    for form in FORMS {
        let zipf = sample("zipf.parquet");
        let mut process = mcanalyze(&[&"export", &zipf, &"--as", &form])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{form}");
        assert!(output.stderr.is_empty(), "{form}: {}", text(&output.stderr));

        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = mcanalyze(&[&"export", &zipf, &"--as", &form]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{form}");
        assert!(text(&output.stderr).contains("No space left"), "{}", text(&output.stderr));
    }
    compare(
        "exchange.py",
        &[&"terminal", &env!("CARGO_BIN_EXE_mcanalyze"), &sample("zipf.parquet")],
    );
}
