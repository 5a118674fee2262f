"use strict";
// Plots. plotly takes some text for HTML, so it is given numbers, times and words of
// ours only: never what a client or a host may have chosen.

/** Each `{element, make, overTime}`: what it takes to draw it again, in other colours. */
const charts = [];

/** A colour of the page's style, as it is now: light or dark. */
function colour(name) {
  const probe = el("span", { style: `color: var(--${name})` });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const DRAWING = "http://www.w3.org/2000/svg";
const DASHES = { line: "none", dash: "5 3", dots: "2 3" };

/** The sample of a line, a bar or an area in a legend: told apart by its form too. */
function sample({ form, colour: name }) {
  const svg = document.createElementNS(DRAWING, "svg");
  svg.setAttribute("viewBox", "0 0 28 12");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(DRAWING, form in DASHES ? "line" : "rect");
  const at = form in DASHES ? { x1: 0, x2: 28, y1: 6, y2: 6 } : { x: 1, y: 1, width: 26, height: 10 };
  for (const [attribute, value] of Object.entries(at)) shape.setAttribute(attribute, value);
  if (form in DASHES) {
    shape.style.cssText = `stroke: var(--${name}); stroke-width: 2; stroke-dasharray: ${DASHES[form]}`;
  } else if (form === "shade") {
    shape.style.cssText = "fill: var(--shade); stroke: var(--shade-edge); stroke-dasharray: 2 2";
  } else {
    shape.style.cssText = `fill: var(--${name}); stroke: ${form === "band" ? "var(--first)" : "none"}`;
  }
  svg.append(shape);
  return svg;
}

function legend(entries) {
  if (entries.length === 0) return null;
  return el("ul", { class: "legend" }, entries.map((entry) => el("li", {}, sample(entry), entry.text)));
}

/**
 * A figure: title, what the plot shows in a sentence, legend, and the plot, which
 * `make(width)` says anew as `{data, layout}` whenever colours change.
 */
function chart({ title, says, entries = [], wide = false, overTime = false, make }) {
  const element = el("div", { class: wide ? "plot tall" : "plot", role: "img", "aria-label": `${title}. ${says}` });
  charts.push({ element, make, overTime });
  const caption = el("figcaption", {}, el("h3", {}, title), el("p", {}, says), legend(entries));
  return el("figure", { class: wide ? "wide" : null }, caption, element);
}

function axis(more = {}) {
  return {
    gridcolor: colour("rule"),
    linecolor: colour("quiet"),
    zeroline: false,
    automargin: true,
    ticks: "outside",
    ticklen: 4,
    tickcolor: colour("quiet"),
    ...more,
    title: { text: more.title ?? "", standoff: 8, font: { size: 12 } },
  };
}

/** A finger that drags over a plot scrolls the page; a mouse zooms. */
const FINGER = matchMedia("(pointer: coarse)").matches;

function layout(more) {
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 52, r: 14, t: 10, b: 40 },
    showlegend: false,
    dragmode: FINGER ? false : "zoom",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("quiet"), font: { color: colour("ink") } },
    ...more,
  };
}

/** A line. Points that have no neighbour, or few of them, are dots. */
function line({ x, y, name, form = "line", hover, ...more }) {
  const alone = y.some((value, at) => value !== null && (y[at - 1] ?? null) === null && (y[at + 1] ?? null) === null);
  return {
    type: "scatter",
    mode: y.length <= 40 || alone ? "lines+markers" : "lines",
    x,
    y,
    line: { color: colour(name), width: 1.6, dash: { line: "solid", dash: "5px,3px", dots: "2px,3px" }[form] },
    marker: { color: colour(name), size: 4 },
    hovertemplate: hover,
    ...more,
  };
}

/** Ticks at 1, 10, 100 …, and between them where that gives too few. */
function decades(values) {
  const known = values.filter((value) => value > 0);
  const [low, high] = [Math.min(...known), Math.max(...known)].map(Math.log10);
  const steps = high - low > 3 || high === low ? [1] : high - low > 1 ? [1, 2, 5] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const ticks = [];
  for (let power = Math.floor(low) - 1; power <= Math.ceil(high); power += 1) {
    for (const step of steps) ticks.push(step * 10 ** power);
  }
  // What is counted here comes in whole numbers.
  return ticks.filter((tick) => tick >= 1);
}

/** A label without a needless `.0`. */
function brief(text) {
  return text.replace(/\.0(?=\u00a0)/, "");
}

function logarithmic(values, show, more = {}) {
  const ticks = decades(values);
  return axis({ type: "log", tickvals: ticks, ticktext: ticks.map((tick) => brief(show(tick))), ...more });
}

/** Ticks of a log axis of bytes: powers of two, at most `most` of them. */
function binary(values, most, more = {}) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.log2);
  const stride = Math.max(1, Math.ceil((high - low) / most));
  const ticks = [];
  for (let power = Math.ceil(low); power <= high; power += stride) ticks.push(2 ** power);
  if (ticks.length === 0) ticks.push(Math.max(...values));
  return axis({ type: "log", tickvals: ticks, ticktext: ticks.map((tick) => brief(bytes(tick))), ...more });
}

/** An axis of percents that leaves room above and below, in steps of five. */
function percentAxis(values) {
  const known = values.filter((value) => value !== null);
  const low = known.length === 0 ? 0 : Math.max(0, Math.floor(Math.min(...known) / 5 - 0.2) * 5);
  const high = known.length === 0 ? 100 : Math.min(100, Math.ceil(Math.max(...known) / 5 + 0.2) * 5);
  const title = low > 0 ? "does not begin at 0" : "";
  return axis({ range: [low, high + (high - low) * 0.03], ticksuffix: "\u00a0%", title, fixedrange: true });
}

/** Buckets with those between them that are empty, so that an axis has no gaps. */
function filled(rows, from, to) {
  const full = [];
  for (const row of rows) {
    const before = full.at(-1);
    for (let low = before?.[to] ?? row[from]; low > 0 && low < row[from]; low *= 2) {
      full.push({ [from]: low, [to]: Math.min(low * 2, row[from]) });
    }
    full.push(row);
  }
  return full;
}

/** An axis of buckets: bar `i` is at `i`, and labels stand at its lower edge. */
function edges(lows, show, room, more = {}) {
  const stride = Math.max(1, Math.ceil(lows.length / room));
  const at = lows.map((_, index) => index).filter((index) => index % stride === 0);
  return axis({
    tickvals: at.map((index) => index - 0.5),
    ticktext: at.map((index) => brief(show(lows[index]))),
    range: [-0.5, lows.length - 0.5],
    ...more,
  });
}

/** Intervals in ms, those joined that no eye could tell apart: some hundreds at most. */
function joined(lossy, [first, last]) {
  const least = (last - first) / 400;
  const shades = [];
  for (const { from, to } of lossy) {
    const [start, end] = [milliseconds(from), milliseconds(to)];
    if (end < first || start > last) continue;
    const before = shades.at(-1);
    if (before && start - before[1] <= least) before[1] = Math.max(before[1], end);
    else shades.push([start, end]);
  }
  return shades;
}

/** The axis of time, and what is shaded on it. */
function timeline([start, end], lossy, layer = "below") {
  const shades = joined(lossy, [start, end]).map(([x0, x1]) => ({
    type: "rect",
    xref: "x",
    yref: "paper",
    x0,
    x1,
    y0: 0,
    y1: 1,
    layer,
    fillcolor: colour("shade"),
    line: { color: colour("shade-edge"), width: 1, dash: "dot" },
  }));
  const room = (end - start) / 200;
  // Labels with milliseconds are long.
  const nticks = innerWidth < 500 ? 3 : 0;
  return {
    xaxis: axis({
      type: "date",
      range: [start - room, end + room],
      title: "time, UTC",
      nticks,
      fixedrange: FINGER,
      hoverformat: "%H:%M:%S.%3f",
      spikecolor: colour("quiet"),
      spikethickness: 1,
    }),
    shapes: shades,
    hovermode: "x unified",
  };
}

function countAxis(title) {
  const few = (values) => values.every((value) => value === null || value < 5);
  return (values) => axis({ title, tickformat: ",", dtick: few(values) ? 1 : null, rangemode: "tozero", fixedrange: true });
}

/** What a column did, in words. */
function course(rows, name, show) {
  const known = rows.filter((row) => (row[name] ?? null) !== null);
  if (known.length === 0) return "not known.";
  const low = known.reduce((a, b) => (b[name] < a[name] ? b : a));
  const high = known.reduce((a, b) => (b[name] > a[name] ? b : a));
  const steps = milliseconds(rows.at(-1).time) - milliseconds(rows[0].time);
  const at = (row) => `(at ${timeOfDay(row.time).slice(0, steps / rows.length < 500 ? 12 : 8)})`;
  if (low[name] === high[name]) return `${show(low[name])} throughout.`;
  return `between ${show(low[name])} ${at(low)} and ${show(high[name])} ${at(high)}.`;
}

/** A plot over time of `lines`: `{text, colour, form, show, of}`, where `of` takes a row. */
function overTime({ title, says, lines, yaxis }, { rows, span, lossy }) {
  const x = rows.map((row) => milliseconds(row.time));
  const values = lines.map((one) => rows.map((row) => one.of(row) ?? null));
  const entries = lines.map((one) => ({ form: one.form ?? "line", colour: one.colour, text: one.text }));
  const lost = lossy.reduce((sum, interval) => sum + (interval.lost ?? 0), 0);
  if (lossy.length > 0) {
    const text = `operations were lost here, or may have been (${grouped(lost)} in ${counted(lossy.length, "interval")})`;
    entries.push({ form: "shade", text });
  }
  const make = () => ({
    data: lines.map((one, at) =>
      line({
        x,
        y: values[at],
        name: one.colour,
        form: one.form,
        customdata: values[at].map((value) => (value === null ? UNKNOWN : one.show(value))),
        hover: `%{customdata} ${one.text}<extra></extra>`,
      }),
    ),
    layout: layout({ ...timeline(span, lossy), yaxis: yaxis(values.flat()) }),
  });
  return chart({ title, says, entries, overTime: true, make });
}

/** Counts by time and bucket; few are as visible as many, so colours are logarithmic. */
function heat({ times, step, lows, counts, lossy, span }, width) {
  const most = Math.log10(counts.flat().reduce((a, b) => Math.max(a, b), 1));
  const powers = Array.from({ length: Math.floor(most) + 1 }, (_, power) => power);
  const labels = lows.map((low, at) => `${nanoseconds(low)} to ${nanoseconds(lows[at + 1] ?? low * 2)}`);
  const data = {
    type: "heatmap",
    x: [...times, times.at(-1) + step],
    y: lows.map((_, at) => at),
    z: counts.map((row) => row.map((count) => (count > 0 ? Math.log10(count) : null))),
    customdata: counts.map((row, at) => row.map((count) => [grouped(count), labels[at]])),
    hovertemplate: "%{x|%H:%M:%S}: %{customdata[0]} of %{customdata[1]}<extra></extra>",
    hoverongaps: false,
    zmin: 0,
    zmax: Math.max(most, 1),
    colorscale: [[0, colour("heat-low")], [0.5, colour("heat-mid")], [1, colour("heat-high")]],
    colorbar: {
      title: { text: "operations", side: "right", font: { size: 12 } },
      tickvals: powers,
      ticktext: powers.map((power) => grouped(10 ** power)),
      thickness: 12,
      outlinewidth: 0,
    },
    // Without room for a scale the hover and the sentence say how many.
    showscale: width > 500,
  };
  const base = timeline(span, lossy, "above");
  const yaxis = edges(lows, nanoseconds, 10, { title: "latency", fixedrange: true });
  return { data: [data], layout: layout({ ...base, yaxis, hovermode: "closest" }) };
}

/** Bars of counts by bucket: `from` and `to` name the columns that bound it. */
function bars(rows, { from, to, show, series, title, log = false, what }) {
  const full = filled(rows, from, to);
  const label = (row) => `${show(row[from])} to ${show(row[to])}`;
  const tops = full.flatMap((row) => series.map((one) => row[one.name] ?? 0));
  const yaxis = () => (log ? logarithmic(tops, grouped, { title: what }) : axis({ title: what, tickformat: ",", rangemode: "tozero" }));
  return (width) => ({
    data: series.map((one, at) => ({
      type: "bar",
      x: full.map((_, index) => index),
      y: full.map((row) => row[one.name] ?? 0),
      marker: {
        color: colour(one.colour),
        line: { color: colour(one.colour), width: 1 },
        pattern: { shape: at === 0 ? "" : "/", fillmode: "overlay", fgcolor: colour("paper"), size: 6 },
      },
      customdata: full.map((row) => [grouped(row[one.name] ?? 0), label(row)]),
      hovertemplate: `%{customdata[1]}: %{customdata[0]} ${one.text}<extra></extra>`,
    })),
    layout: layout({
      bargap: 0.06,
      xaxis: edges(full.map((row) => row[from]), show, Math.max(2, Math.floor(width / 78)), { title }),
      yaxis: yaxis(),
    }),
  });
}

/** Calls by rank, and the line of Zipf's law through them. */
function ranking(points, exponent) {
  const x = points.map((point) => point.rank);
  const y = points.map((point) => point.calls);
  const data = [line({ x, y, name: "first", hover: "rank %{x:,}: %{y:,} calls<extra></extra>" })];
  if (exponent !== null && points.length > 1) {
    // The slope is given; the height is what suits the points best.
    const height = x.reduce((sum, rank, at) => sum + Math.log(y[at]) + exponent * Math.log(rank), 0) / x.length;
    const ends = [x[0], x.at(-1)];
    const fitted = ends.map((rank) => Math.exp(height - exponent * Math.log(rank)));
    data.push(line({ x: ends, y: fitted, name: "second", form: "dash", mode: "lines", hoverinfo: "skip" }));
  }
  const xaxis = logarithmic(x, grouped, { title: "rank of the key" });
  return { data, layout: layout({ xaxis, yaxis: logarithmic(y, grouped, { title: "calls" }) }) };
}

/** The hit ratio by memory, with its error, what was recorded and the working set. */
function missCurve({ curve, recorded, whole }, width) {
  const x = curve.map((point) => point.bytes);
  const within = (ratio) => Math.min(Math.max(ratio, 0), 1) * 100;
  const least = curve.map((point) => within(point.hit_ratio - (point.error ?? 0)));
  const most = curve.map((point) => within(point.hit_ratio_at_most + (point.error ?? 0)));
  const bound = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip" };
  const texts = curve.map((point) => [bytes(point.bytes), percent(point.hit_ratio)]);
  const data = [
    { ...bound, y: least },
    { ...bound, y: most, fill: "tonexty", fillcolor: colour("band") },
    line({
      x,
      y: curve.map((point) => point.hit_ratio * 100),
      name: "first",
      customdata: texts,
      hover: "%{customdata[0]}: %{customdata[1]}<extra></extra>",
    }),
  ];
  const shapes = [];
  const mark = (name, dash, place) => shapes.push({ type: "line", line: { color: colour(name), width: 1.6, dash }, ...place });
  const across = { xref: "paper", x0: 0, x1: 1 };
  if (recorded !== null) mark("second", "5px,3px", { ...across, y0: recorded * 100, y1: recorded * 100 });
  if (whole > 0) mark("quiet", "2px,3px", { yref: "paper", y0: 0, y1: 1, x0: whole, x1: whole });
  const xaxis = binary(x, Math.floor(width / 90), { title: "memory for keys and values" });
  const yaxis = axis({ title: "hit ratio", range: [0, 103], ticksuffix: "\u00a0%", fixedrange: true });
  return { data, layout: layout({ xaxis, yaxis, shapes }) };
}

/** What was zoomed into, of the plots over time; null for all of it. */
let zoomed = null;

/** A zoom into one plot over time is one into all of them. */
function zoom(range) {
  zoomed = range;
  for (const { element, full } of charts.filter((one) => one.overTime)) {
    Plotly.relayout(element, { "xaxis.range": [...(range ?? full)] });
  }
}

function link(element) {
  // What a program sets is "xaxis.range", in one, and so does not come back here.
  element.on("plotly_relayout", (event) => {
    const range = [event["xaxis.range[0]"], event["xaxis.range[1]"]];
    if (range[0] !== undefined) zoom(range);
  });
  element.on("plotly_doubleclick", () => zoom(null));
}

function config(overTime) {
  return { displayModeBar: false, responsive: true, doubleClick: overTime ? false : "reset", showTips: false };
}

/** Draws all plots, one after the other, so that the page answers meanwhile. */
async function draw() {
  for (const one of charts) {
    const { data, layout: all } = one.make(one.element.clientWidth);
    // A copy: plotly writes a zoom into what it was given.
    one.full = [...all.xaxis.range ?? []];
    await Plotly.newPlot(one.element, data, all, config(one.overTime));
    if (one.overTime) link(one.element);
    await new Promise((then) => setTimeout(then));
  }
}

/** Draws all of them again: in other colours, or for paper, in another width. */
function redraw(width = null) {
  for (const { element, make, overTime } of charts) {
    if (!element.data) continue;
    const { data, layout: all } = make(width ?? element.clientWidth);
    if (width !== null) all.width = width;
    if (overTime && zoomed !== null) all.xaxis.range = [...zoomed];
    Plotly.react(element, data, all, config(overTime));
  }
}

const DARK = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return (document.documentElement.dataset.theme ?? (DARK.matches ? "dark" : "light")) === "dark";
}

function themes() {
  const button = document.getElementById("theme");
  const named = () => (button.textContent = isDark() ? "Light colours" : "Dark colours");
  const changed = () => {
    named();
    redraw();
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    changed();
  });
  DARK.addEventListener("change", changed);
  named();
  button.hidden = false;
}

/** Paper is white, and as wide as it is: px of the text on A4. */
function paper() {
  const PAPER = 680;
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    redraw(PAPER);
  });
  addEventListener("afterprint", () => {
    if (theme === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    redraw();
  });
}
