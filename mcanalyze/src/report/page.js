"use strict";
// The report: what it says, section by section, from top to bottom.

const report = JSON.parse(document.getElementById("data").textContent);
const capture = report.capture;
const files = capture.files ?? [];
const lossy = report.lossy ?? [];

function section(id) {
  return document.getElementById(id);
}

function note(...text) {
  return el("p", { class: "note" }, ...text);
}

function unique(values) {
  return [...new Set(values.filter((value) => value !== null && value !== undefined && value !== ""))];
}

/** `1 key`, `2 keys`. */
function counted(number, thing, things = `${thing}s`) {
  return `${grouped(number)} ${number === 1 ? thing : things}`;
}

/** `~` before what was scaled from a sample to all keys. */
function about(figure) {
  return capture.sampling?.estimates?.includes(figure) ? "~" : "";
}

/** Whether no source of this capture fills `column`. */
function unseen(column) {
  return files.length > 0 && files.every((file) => file.source.columns_unknown.includes(column));
}

function nothing(what, column = null) {
  if (capture.operations === 0) return note("No operation was recorded.");
  if (column !== null && unseen(column)) {
    const sources = unique(files.map((file) => file.source.name)).join(", ");
    return note(`Not known: this source (${visible(sources)}) does not see ${what}.`);
  }
  return note(`There is nothing to show: no operation with ${what} was recorded.`);
}

function heading() {
  const versions = unique(files.map((file) => file.target.version)).join(", ");
  const hosts = unique(files.map((file) => file.capture.host)).join(", ");
  section("title").replaceChildren("memcached ", foreign(versions || "of unknown version"), " on ", foreign(hosts || "an unknown host"));
  const span = `Recorded ${second(capture.start)} to ${second(capture.end)} UTC (${duration(capture.duration_s)}${files.length > 1 ? `, in ${files.length} files` : ""})`;
  const pids = unique(files.map((file) => file.target.pid)).filter((pid) => pid !== 0);
  const more = [
    pids.length > 0 && pids.length <= 3 && `pid ${pids.join(", ")}`,
    unique(files.flatMap((file) => file.target.listening)).slice(0, 5).join(" "),
    `seen through ${unique(files.map((file) => file.source.name)).join(", ") || "an unknown source"}`,
  ].filter(Boolean);
  section("about").append(span, "; ", foreign(more.join(", ")), ".");
  if (report.asked) {
    section("asked").append("Of it, only what was asked for: ", foreign(report.asked), ".");
    section("asked").hidden = false;
  }
  section("made").append(`Made by mcanalyze ${visible(report.mcanalyze)}. This file is complete in itself and loads nothing.`);
}

function caveats() {
  const list = report.caveats ?? [];
  const warned = list.length > 0 || capture.lost > 0 || !capture.complete;
  section("caveats").classList.toggle("warned", warned);
  if (list.length > 0) {
    section("caveats-title").textContent = "Caveats: before any number is believed";
    section("caveats").append(el("ul", {}, list.map((text) => el("li", {}, foreign(text)))));
  } else if (warned) {
    section("caveats").append(el("p", {}, `The capture is not complete: ${counted(capture.lost ?? 0, "operation was", "operations were")} lost.`));
  } else {
    section("caveats").append(note("None is known: nothing was lost."));
  }
}

function figures() {
  const all = (report.latency ?? []).find((row) => row.op === "all") ?? {};
  const known = (value, show, approximate = "") => (value === null || value === undefined ? UNKNOWN : approximate + show(value));
  const perSecond = (value) => `${rate(value)}/s`;
  const cards = [
    ["Operations", known(capture.operations, grouped, about("operations")), `in ${duration(capture.duration_s)}`],
    ["Rate", known(capture.rate, perSecond, about("rate")), "operations, on average"],
    [
      "Hit ratio",
      known(capture.hit_ratio, percent, about("hit_ratio")),
      `${known(capture.hits, grouped, about("hits"))} hits, ${known(capture.misses, grouped, about("misses"))} misses`,
    ],
    ["Distinct keys", known(capture.distinct_keys, grouped, about("distinct_keys")), null],
    [
      "Bandwidth, of values",
      known(capture.bandwidth_kbps, (kbps) => `${rate(kbps)} kbps`, about("bandwidth_kbps")),
      `${known(capture.bytes_returned, bytes, about("bytes_returned"))} returned, ${known(capture.bytes_stored, bytes, about("bytes_stored"))} stored`,
    ],
    ["Latency p50", known(all.p50_ns, nanoseconds), `of ${counted(all.count ?? 0, "operation")}`],
    ["Latency p99", known(all.p99_ns, nanoseconds), `p99.9 ${known(all.p999_ns, nanoseconds)}`],
  ];
  const card = ([name, value, more]) =>
    el("div", {}, el("dt", {}, name), el("dd", { class: "value" }, value), more && el("dd", { class: "more" }, more));
  section("figures").append(el("dl", { class: "cards" }, cards.map(card)));
  if (capture.sampling) section("figures").append(note("~ is scaled from the sample to all keys, and so an estimate."));
}

/** From when to when plots over time go, ms. */
function span() {
  const { rows, step_s: step } = report.series;
  const end = milliseconds(rows.at(-1).time) + step * 1000;
  return [milliseconds(rows[0].time), Math.max(end, milliseconds(capture.end))];
}

const FIRST = { colour: "first", form: "line" };
const SECOND = { colour: "second", form: "dash" };

/** The plots over time. */
function traffic(rows) {
  const part = (row, of) => (row.operations > 0 ? (row.rate * row[of]) / row.operations : 0);
  const values = (row) => row.bytes_returned + row.bytes_stored;
  const bandwidth = (row, of) => (values(row) > 0 ? (row.bandwidth_kbps * row[of]) / values(row) : 0);
  const perSecond = (value) => `${rate(value)}/s`;
  const kbps = (value) => `${rate(value)} kbps`;
  const ratio = (row) => ((row.hit_ratio ?? null) === null ? null : row.hit_ratio * 100);
  return [
    {
      title: "Requests",
      says: `Operations a second: ${course(rows, "rate", rate)}`,
      lines: [
        { ...FIRST, text: "operations", of: (row) => row.rate, show: perSecond },
        { ...SECOND, text: "misses", of: (row) => part(row, "misses"), show: perSecond },
      ],
      yaxis: countAxis("operations/s"),
    },
    {
      title: "Hit ratio",
      says: `Hits of all that hit or missed: ${course(rows, "hit_ratio", percent)}`,
      lines: [{ ...FIRST, text: "hits", of: ratio, show: (value) => percent(value / 100) }],
      yaxis: percentAxis,
    },
    {
      title: "Bandwidth",
      says: `Of values, returned and stored together: ${course(rows, "bandwidth_kbps", kbps)}`,
      lines: [
        { ...FIRST, text: "returned", of: (row) => bandwidth(row, "bytes_returned"), show: kbps },
        { ...SECOND, text: "stored", of: (row) => bandwidth(row, "bytes_stored"), show: kbps },
      ],
      yaxis: countAxis("kbps"),
    },
    {
      title: "Connections",
      says: `Connections that were used: ${course(rows, "connections", grouped)}`,
      lines: [{ ...FIRST, text: "connections", of: (row) => row.connections, show: grouped }],
      yaxis: countAxis(""),
    },
    {
      title: "Keys",
      says: `Distinct keys in a step: ${course(rows, "distinct_keys", grouped)} New ones: ${course(rows, "new_keys", grouped)}`,
      lines: [
        { ...FIRST, text: "distinct keys", of: (row) => row.distinct_keys, show: grouped },
        { ...SECOND, text: "not seen before", of: (row) => row.new_keys, show: grouped },
      ],
      yaxis: countAxis("keys"),
    },
    {
      title: "Latency",
      says: `p50: ${course(rows, "latency_p50_ns", nanoseconds)} p99: ${course(rows, "latency_p99_ns", nanoseconds)}`,
      lines: [
        { ...FIRST, text: "p50", of: (row) => row.latency_p50_ns, show: nanoseconds },
        { ...SECOND, text: "p99", of: (row) => row.latency_p99_ns, show: nanoseconds },
      ],
      yaxis: (all) => logarithmic(all, nanoseconds, { title: "latency", fixedrange: true }),
    },
  ];
}

function time() {
  const { rows = [], step_s: step } = report.series ?? {};
  if (rows.length === 0) return section("time").append(nothing("a time"));
  const zoom = FINGER ? "" : " Drag over a plot to zoom into all plots over time; double-click to go back.";
  section("time").append(
    note(`${counted(rows.length, "step")} of ${duration(step)}.${zoom}`),
    el("div", { class: "plots" }, traffic(rows).map((plot) => overTime(plot, { rows, span: span(), lossy }))),
    behind("These plots as a table", () => ({
      label: "Figures over time",
      rows,
      columns: [
        { name: "time", title: "time", kind: "time" },
        { name: "operations", title: "operations", kind: "count" },
        { name: "rate", title: "ops/s", kind: "rate" },
        { name: "hits", title: "hits", kind: "count" },
        { name: "misses", title: "misses", kind: "count" },
        { name: "hit_ratio", title: "hit ratio", kind: "ratio" },
        { name: "bandwidth_kbps", title: "kbps", kind: "rate" },
        { name: "bytes_returned", title: "returned", kind: "bytes" },
        { name: "bytes_stored", title: "stored", kind: "bytes" },
        { name: "connections", title: "connections", kind: "count" },
        { name: "distinct_keys", title: "keys", kind: "count" },
        { name: "new_keys", title: "new keys", kind: "count" },
        { name: "latency_p50_ns", title: "p50", kind: "ns" },
        { name: "latency_p99_ns", title: "p99", kind: "ns" },
        { name: "lost", title: "lost", kind: "count" },
      ],
    })),
  );
}

function heatmap() {
  const { times = [], from_ns: lows = [], counts: cells = [] } = report.heatmap ?? {};
  if (times.length === 0 || lows.length === 0) return null;
  const totals = cells.map((row) => row.reduce((sum, count) => sum + count, 0));
  const most = totals.indexOf(totals.reduce((a, b) => Math.max(a, b), 0));
  const highest = totals.findLastIndex((total) => total > 0);
  if (highest < 0) return null;
  const to = (at) => nanoseconds(lows[at + 1] ?? lows[at] * 2);
  const starts = times.map(milliseconds);
  const step = starts.length > 1 ? starts[1] - starts[0] : report.series.step_s * 1000;
  const facts = { times: starts, step, lows, counts: cells, lossy, span: span() };
  return chart({
    title: "Latency over time",
    says: `How many operations took how long, the darker (in dark mode, the brighter) the more. Most took ${nanoseconds(lows[most])} to ${to(most)}; none took more than ${to(highest)}.`,
    entries: lossy.length > 0 ? [{ form: "shade", text: "operations were lost here, or may have been" }] : [],
    wide: true,
    overTime: true,
    make: (width) => heat(facts, width),
  });
}

/** The histogram of one command, and a choice among them. */
function histogram(rows) {
  const ops = unique(rows.map((row) => row.op));
  const select = el("select", {}, ops.map((op) => el("option", { value: op }, op === "all" ? "all commands" : visible(op))));
  const log = el("input", { type: "checkbox" });
  const chosen = () => rows.filter((row) => row.op === select.value);
  const figure = chart({
    title: "Histogram",
    wide: true,
    says: "Operations by latency, in powers of two; the table below has the same.",
    make: (width) =>
      bars(chosen(), {
        from: "from_ns",
        to: "to_ns",
        show: nanoseconds,
        series: [{ name: "count", text: "operations", colour: "first" }],
        title: "latency",
        what: "operations",
        log: log.checked,
      })(width),
  });
  select.addEventListener("change", () => redraw());
  log.addEventListener("change", () => redraw());
  const controls = el("div", { class: "controls" }, el("label", {}, "Command", select), el("label", {}, log, "Counts on a logarithmic axis"));
  figure.querySelector("figcaption").append(controls);
  return figure;
}

function latency() {
  const rows = report.latency ?? [];
  if (rows.length === 0) return section("latency").append(nothing("a latency", "latency_ns"));
  const definitions = unique(files.map((file) => file.source.latency));
  if (definitions.length === 1) section("latency").append(note(foreign(definitions[0])));
  const percentiles = ["p50", "p90", "p99", "p999", "p9999", "max"];
  const titles = { p999: "p99.9", p9999: "p99.99" };
  const table = new Grid({
    label: "Percentiles of latency by command",
    rows,
    columns: [
      { name: "op", title: "command", kind: "word" },
      { name: "count", title: "operations", kind: "count" },
      ...percentiles.map((name) => ({ name: `${name}_ns`, title: titles[name] ?? name, kind: "ns" })),
    ],
  });
  const buckets = report.histogram ?? [];
  section("latency").append(
    el("section", { "aria-labelledby": "percentiles-title" }, el("h3", { id: "percentiles-title" }, "Percentiles by command"), table.element),
    el("div", { class: "plots" }, heatmap(), buckets.length > 0 ? histogram(buckets) : null),
  );
  if (buckets.length === 0) return;
  section("latency").append(
    behind("The histograms as a table", () => ({
      label: "Histograms of latency",
      sortable: false,
      rows: buckets,
      columns: [
        { name: "op", title: "command", kind: "word" },
        { name: "from_ns", title: "from", kind: "ns" },
        { name: "to_ns", title: "to", kind: "ns" },
        { name: "count", title: "operations", kind: "count" },
      ],
    })),
  );
}

/** A table that a section consists of. */
function tabled(id, rows, absent, intro, table) {
  if (!rows || rows.length === 0) return section(id).append(absent);
  if (intro) section(id).append(note(intro));
  section(id).append(new Grid({ rows, ...table }).element);
}

function keys() {
  const shown = report.keys ?? [];
  const some = shown.length < capture.distinct_keys;
  const intro = some ? `The ${grouped(shown.length)} that were asked for most, of ${about("distinct_keys")}${grouped(capture.distinct_keys)}.` : null;
  tabled("keys", shown, nothing("a key"), intro, {
    label: "Top keys",
    sorted: "calls",
    searched: "keys",
    columns: [
      { name: "key", title: "key", kind: "key" },
      { name: "calls", title: "calls", kind: "count" },
      { name: "share", title: "share", kind: "share" },
      { name: "hit_ratio", title: "hit ratio", kind: "ratio" },
      { name: "misses", title: "misses", kind: "count" },
      { name: "value_size", title: "size", kind: "bytes" },
      { name: "rate", title: "req/s", kind: "rate" },
      { name: "bandwidth_kbps", title: "kbps", kind: "rate" },
      { name: "bytes", title: "bytes", kind: "bytes" },
      { name: "latency_p50_ns", title: "p50", kind: "ns" },
      { name: "latency_p99_ns", title: "p99", kind: "ns" },
      { name: "last", title: "last", kind: "time" },
    ],
  });
}

function prefixes() {
  tabled("prefixes", report.prefixes, nothing("a key"), null, {
    label: "Prefixes of keys",
    sorted: "calls",
    searched: "prefixes",
    columns: [
      { name: "prefix", title: "prefix", kind: "key" },
      { name: "keys", title: "keys", kind: "count" },
      { name: "calls", title: "calls", kind: "count" },
      { name: "share", title: "share", kind: "share" },
      { name: "hit_ratio", title: "hit ratio", kind: "ratio" },
      { name: "hits", title: "hits", kind: "count" },
      { name: "misses", title: "misses", kind: "count" },
      { name: "bytes", title: "bytes", kind: "bytes" },
    ],
  });
}

function sizes() {
  const rows = (report.sizes ?? []).filter((row) => row.stored > 0 || row.returned > 0);
  if (rows.length === 0) return section("sizes").append(nothing("a value", "value_size"));
  const most = rows.reduce((a, b) => (b.stored + b.returned > a.stored + a.returned ? b : a));
  const heaviest = rows.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const within = (row) => `${bytes(row.from)} to ${bytes(row.to)}`;
  const series = [
    { name: "returned", text: "returned", colour: "first" },
    { name: "stored", text: "stored", colour: "second" },
  ];
  const figure = chart({
    title: "Values by size",
    says: `Most values have ${within(most)}; most bytes are in values of ${within(heaviest)}.`,
    entries: series.map((one) => ({ form: "bar", colour: one.colour, text: one.text })),
    make: bars(rows, { from: "from", to: "to", show: bytes, series, title: "size of the value", what: "values" }),
  });
  const table = behind("The sizes as a table", () => ({
    label: "Values by size",
    sortable: false,
    rows,
    columns: [
      { name: "from", title: "from", kind: "bytes" },
      { name: "to", title: "to", kind: "bytes" },
      { name: "returned", title: "returned", kind: "count" },
      { name: "stored", title: "stored", kind: "count" },
      { name: "bytes", title: "bytes", kind: "bytes" },
    ],
  }));
  section("sizes").append(figure, table);
  for (const text of report.sizes_notes ?? []) section("sizes").append(note(foreign(text)));
}

function ttls() {
  tabled("ttls", report.ttls, nothing("a TTL", "ttl"), "What clients asked for when they stored.", {
    label: "TTLs of what was stored",
    sortable: false,
    columns: [
      { name: "ttl", title: "TTL", kind: "word" },
      { name: "stores", title: "stores", kind: "count" },
      { name: "share", title: "share", kind: "share" },
    ],
  });
}

function popularity() {
  const { ranks = [], zipf_exponent: exponent, r2, one_hit_wonders: once, one_hit_share: onceShare } = report.popularity ?? {};
  if (ranks.length === 0) return section("popularity").append(nothing("a key"));
  const known = (exponent ?? null) !== null;
  const fits = (r2 ?? null) === null ? "" : ` (r² ${r2.toFixed(2)})`;
  const zipf = known ? `Calls fall with about rank to the power of −${exponent.toFixed(2)}${fits}.` : "There are too few keys to say how calls fall with rank.";
  const wonders = (once ?? null) === null ? "" : ` ${counted(once, "key was", "keys were")} asked for only once${(onceShare ?? null) === null ? "" : ` (${percent(onceShare)} of all keys)`}.`;
  const points = ranks.filter((point) => point.rank > 0 && point.calls > 0);
  const entries = [{ form: "line", colour: "first", text: "keys by rank" }];
  if (known) entries.push({ form: "dash", colour: "second", text: `Zipf, exponent ${exponent.toFixed(2)}` });
  section("popularity").append(
    chart({ title: "Calls by rank", says: `${zipf}${wonders}`, entries, make: () => ranking(points, known ? exponent : null) }),
    behind("The ranks as a table", () => ({
      label: "Calls by rank of the key",
      sortable: false,
      rows: ranks,
      columns: [
        { name: "rank", title: "rank", kind: "count" },
        { name: "calls", title: "calls", kind: "count" },
      ],
    })),
  );
}

/** The hit ratios with `size` bytes and their error, between two points of the curve. */
function between(curve, size) {
  const after = curve.findIndex((point) => point.bytes >= size);
  if (after < 0) return curve.at(-1);
  if (after === 0) return curve[0];
  const [low, high] = [curve[after - 1], curve[after]];
  const part = (size - low.bytes) / (high.bytes - low.bytes);
  const mix = (name) => low[name] + (high[name] - low[name]) * part;
  return { hit_ratio: mix("hit_ratio"), hit_ratio_at_most: mix("hit_ratio_at_most"), error: mix("error") };
}

/** What the curve says of the half of the working set, and of the whole. */
function memoryInWords({ curve, working_set_bytes: whole, working_set_keys: items, recorded_hit_ratio: recorded }) {
  const sentences = [];
  if (whole > 0) {
    sentences.push(`The working set is ${bytes(whole)} in ${counted(items, "key")}.`);
    for (const [name, part] of [["half", 2], ["a tenth of", 10]]) {
      if (whole / part < curve[0].bytes) continue;
      const { hit_ratio: ratio, hit_ratio_at_most: most, error } = between(curve, whole / part);
      const give = error > 0.0005 ? ` (± ${(error * 100).toFixed(1)} points)` : "";
      sentences.push(`With ${name} the working set, ${bytes(whole / part)}, the hit ratio would be ${most - ratio > 0.0005 ? `${percent(ratio)} to ${percent(most)}` : percent(ratio)}${give}.`);
    }
  }
  if (recorded !== null) sentences.push(`Recorded was ${percent(recorded)}.`);
  return sentences.join(" ");
}

function memory() {
  const facts = report.memory;
  const curve = (facts?.curve ?? []).filter((point) => point.bytes > 0);
  for (const text of facts?.notes ?? []) section("memory").append(note(foreign(text)));
  if (curve.length < 2) return section("memory").append(note("There is no estimate: too little was recorded to tell how much memory would do."));
  const recorded = facts.recorded_hit_ratio ?? null;
  const whole = facts.working_set_bytes ?? 0;
  const entries = [
    { form: "line", colour: "first", text: "an ideal LRU of that size" },
    { form: "band", colour: "band", text: "its bounds: by sampling, and by what was there before" },
  ];
  if (recorded !== null) entries.push({ form: "dash", colour: "second", text: `recorded, ${percent(recorded)}` });
  if (whole > 0) entries.push({ form: "dots", colour: "quiet", text: "the working set" });
  section("memory").append(
    chart({ title: "Hit ratio by memory", says: memoryInWords({ ...facts, curve, recorded_hit_ratio: recorded }), entries, make: (width) => missCurve({ curve, recorded, whole }, width) }),
    behind("The curve as a table", () => ({
      label: "Hit ratio by memory",
      sortable: false,
      rows: facts.curve,
      columns: [
        { name: "bytes", title: "memory", kind: "bytes" },
        { name: "hit_ratio", title: "hit ratio", kind: "ratio" },
        { name: "hit_ratio_at_most", title: "at most", kind: "ratio" },
        { name: "error", title: "± by sampling", kind: "ratio" },
      ],
    })),
  );
}

function clients() {
  tabled("clients", report.clients, nothing("a client", "client"), null, {
    label: "Clients",
    sorted: "calls",
    searched: "clients",
    columns: [
      { name: "client", title: "client", kind: "key" },
      { name: "connections", title: "connections", kind: "count" },
      { name: "calls", title: "calls", kind: "count" },
      { name: "share", title: "share", kind: "share" },
      { name: "hit_ratio", title: "hit ratio", kind: "ratio" },
      { name: "bytes", title: "bytes", kind: "bytes" },
      { name: "latency_p99_ns", title: "p99", kind: "ns" },
    ],
  });
}

function slow() {
  const intro = "Meanwhile: other requests that the same worker thread received in that time. With many of them, the operation waited its turn.";
  tabled("slow", report.slow, nothing("a latency", "latency_ns"), intro, {
    label: "Slowest operations",
    sorted: "latency_ns",
    columns: [
      { name: "time", title: "time", kind: "time" },
      { name: "op", title: "command", kind: "word" },
      { name: "key", title: "key", kind: "key" },
      { name: "status", title: "status", kind: "word" },
      { name: "value_size", title: "size", kind: "bytes" },
      { name: "latency_ns", title: "latency", kind: "ns" },
      { name: "meanwhile", title: "meanwhile", kind: "count" },
      { name: "client", title: "client", kind: "key" },
      { name: "conn_id", title: "connection", kind: "word" },
    ],
  });
}

function cost({ programs, cpu_s: cpu, peak_memory: peak }) {
  const sum = (name) => programs.reduce((total, program) => total + program[name], 0);
  const own = `mcrec ${cpu.toFixed(2)} s of CPU, ${bytes(peak)} of memory at peak`;
  if (programs.length === 0) return `in memcached not known; ${own}`;
  return `in memcached ${(sum("run_time_ns") / 1e9).toFixed(2)} s of CPU in ${grouped(sum("run_count"))} BPF runs; ${own}`;
}

function sampling({ how, sampled_out: out, series }) {
  if (out === 0 && !series.some(([, , one]) => one > 1)) return "every operation";
  const left = out === null ? "it is not known how many operations were left out" : `${counted(out, "operation")} left out on purpose`;
  const rates = series.map(([from, to, one]) => `1/${one} of the keys, ${second(rfc3339(from / 1000))} to ${second(rfc3339(to / 1000))} UTC`);
  return [left, ...(how ? [how] : []), ...rates];
}

function file({ capture: made, target, source, sampling: sampled, cost: spent, privacy }) {
  const span = `${second(rfc3339(made.start_us / 1000))} to ${second(rfc3339(made.end_us / 1000))} UTC`;
  return facts([
    ["recorded", `${span}; ended: ${made.ended ?? "not yet, or its recorder was cut off"}`],
    ["recovered", made.recovered],
    ["recorder", `mcrec ${made.mcrec_version}, commits every ${made.commit_interval_s} s`],
    ["its command", made.command_line.join(" ")],
    ["host", `${made.host}, Linux ${made.kernel}`],
    ["memcached", `${target.version ?? "of unknown version"}, ${target.pid === 0 ? "several pids" : `pid ${target.pid}`}, ${target.executable}`],
    ["its command", target.command_line.join(" ")],
    ["listens on", `${target.listening.join(" ") || "not known"}; ${counted(target.worker_threads, "worker thread")}`],
    ["source", `${source.name}, attached to ${source.attached.map((probe) => probe.probe).join(", ") || "nothing known"}`],
    ["latency is", source.latency],
    ["sees", source.sees],
    ["does not see", source.cannot_see.map(({ what, why }) => `${what}: ${why}`)],
    ["columns unknown", source.columns_unknown.join(", ")],
    ["TLS", source.connections_encrypted > 0 ? counted(source.connections_encrypted, "connection") : null],
    ["sample", sampling(sampled)],
    ["cost", cost(spent)],
    ["keys", privacy.keys_hashed ? `hashed: ${privacy.keys_hashed}` : "as the clients sent them"],
  ]);
}

function recording() {
  const reasons = Object.entries(capture.losses ?? {}).filter(([, count]) => count > 0);
  const lost = reasons.map(([reason, count]) => `${grouped(count)} ${reason.replaceAll("_", " ")}`);
  const kept = `${grouped(capture.seen ?? 0)} operations seen, ${grouped(capture.lost ?? 0)} of them lost`;
  section("recording").append(facts([["seen and lost", kept], ["lost, by reason", lost]]));
  if (files.length === 1) return section("recording").append(file(files[0]));
  files.forEach((one, at) => {
    const name = `File ${at + 1} of ${files.length}: ${second(rfc3339(one.capture.start_us / 1000))} UTC`;
    section("recording").append(el("details", {}, el("summary", {}, name, ", ", foreign(one.capture.host)), file(one)));
  });
}

function contents() {
  for (const heading of document.querySelectorAll("main > section > h2")) {
    const { id } = heading.parentElement;
    const title = id === "caveats" ? "Caveats" : heading.textContent;
    section("contents").append(el("li", {}, el("a", { href: `#${id}` }, title)));
  }
}

/** A section that fails says so, and takes no other with it. */
function attempt(id, write) {
  try {
    write();
  } catch (error) {
    console.error(error);
    section(id).append(note("This part could not be shown."));
  }
}

function main() {
  attempt("main", heading);
  const sections = { caveats, figures, time, latency, keys, prefixes, sizes, ttls, popularity, memory, clients, slow, recording };
  for (const [id, write] of Object.entries(sections)) attempt(id, write);
  contents();
  themes();
  paper();
  draw().catch((error) => console.error(error)).finally(() => (document.documentElement.dataset.drawn = "yes"));
}

main();
