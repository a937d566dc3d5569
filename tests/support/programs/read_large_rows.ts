/** Decodes 300 MB of rows of 10 KB, and keeps the last few of them. */
import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers/promises";
import { BackendReader } from "../../../src/database/wire/backend.ts";
import { decoderOf } from "../../../src/database/wire/types.ts";

const bytes = 10 * 1024;
const rowsOfPiece = 25;
const rowsOfAll = 30_000;

const header = Buffer.alloc(1 + 4 + 2 + 4);
header.write("D");
header.writeInt32BE(header.length - 1 + bytes, 1);
header.writeInt16BE(1, 5);
header.writeInt32BE(bytes, 7);
const row = Buffer.concat([header, Buffer.alloc(bytes)]);
const piece = Buffer.concat(new Array(rowsOfPiece).fill(row));

const decoders = [decoderOf("bytea")];
const kept: unknown[] = [];
let rows = 0;
const reader = new BackendReader({
  rowDecoders: () => decoders,
  row: (values) => kept[rows++ % 100] = values,
  message: () => {},
});
while (rows < rowsOfAll) {
  reader.feed(piece);
  await setImmediate();
}
