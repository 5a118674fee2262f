// Prints the columns of a capture as hyparquet reads them: `readers.mjs MODULES CAPTURE`.
// JSON has no numbers of 64 bits: they are strings of digits behind a #.

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [modules, path] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${modules}/${name}`));
const { parquetMetadata, parquetReadObjects } = await load("hyparquet/src/index.js");
const { compressors } = await load("hyparquet-compressors/src/index.js");

const bytes = await readFile(path);
const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
// Otherwise times are dates, which have no microseconds.
const parsers = { timestampFromMicroseconds: (micros) => micros };
const rows = await parquetReadObjects({ file, compressors, parsers, utf8: true });
const names = parquetMetadata(file).schema.slice(1).map((column) => column.name);
const plain = (value) => (typeof value === "bigint" ? `#${value}` : (value ?? null));
const columns = names.map((name) => [name, rows.map((row) => plain(row[name]))]);
process.stdout.write(JSON.stringify(Object.fromEntries(columns)));
