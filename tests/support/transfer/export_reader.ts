/**
 * Reads an export by docs/export-format.md, and uses no code of the package. This
 * shows that the page is complete.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** A stream of the file. */
export interface ExportedStream {
  id: string;
  kind: number;
  latestSnapshot: bigint;
  blocks: { number: bigint; snapshot: Uint8Array; data: Uint8Array }[];
  generation?: bigint;
  events: Uint8Array[];
  candidates: {
    hash: string;
    number: bigint;
    snapshot: Uint8Array;
    data: Uint8Array;
  }[];
}

const sha256 = (...parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const block = (bytes: Uint8Array) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = 12 + view.getUint32(8);
  return {
    number: view.getBigInt64(0),
    snapshot: bytes.slice(12, end),
    data: bytes.slice(end),
  };
};

const hex = (bytes: Uint8Array) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Reads the header and the streams of an uncompressed file. */
export function readByDoc(path: string) {
  const file = new Uint8Array(readFileSync(path));
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  assert.equal(hex(file.subarray(0, 8)), "8954574e0d0a1a0a");
  let at = 8;
  const next = () => {
    const start = at;
    at += 4 + view.getUint32(start);
    const type = String.fromCharCode(file[start + 4]!);
    return { type, start, payload: file.subarray(start + 5, at) };
  };
  const header = JSON.parse(new TextDecoder().decode(next().payload));
  let chain = sha256(file.subarray(0, at));
  const streams: ExportedStream[] = [];
  for (let record = next(); record.type !== "T"; record = next()) {
    assert.equal(record.type, "S");
    const { start, payload } = record;
    const stream: ExportedStream = {
      id: hex(payload.subarray(0, 32)),
      kind: payload[32]!,
      latestSnapshot: view.getBigInt64(start + 5 + 33),
      blocks: [],
      events: [],
      candidates: [],
    };
    let part = next();
    for (; part.type !== "E" && part.type !== "X"; part = next()) {
      if (part.type === "B") stream.blocks.push(block(part.payload));
      if (part.type === "M") {
        stream.generation = view.getBigInt64(part.start + 5);
      }
      if (part.type === "V") stream.events.push(part.payload.slice());
      if (part.type === "C") {
        const hash = hex(part.payload.subarray(0, 32));
        stream.candidates.push({ hash, ...block(part.payload.subarray(32)) });
      }
    }
    const digest = sha256(file.subarray(start, part.start));
    assert.equal(hex(part.payload), hex(digest));
    const type = new TextEncoder().encode(part.type);
    chain = sha256(chain, type, digest);
    if (part.type === "E") streams.push(stream);
  }
  assert.equal(view.getBigInt64(file.length - 40), BigInt(streams.length));
  assert.equal(hex(file.subarray(file.length - 32)), hex(chain));
  assert.equal(at, file.length);
  return { header, streams };
}
