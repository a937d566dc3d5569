/**
 * Reads an export. The parts of a stream are valid only once its end has come,
 * because the digest comes with the end. A file is valid only once its last
 * event has come.
 */

import type { Buffer } from "node:buffer";
import { fault } from "../../../storage/fault.ts";
import { StreamStorageError } from "../../../storage/errors.ts";
import type { MiniblockRow } from "../../../storage/rules.ts";
import { ByteReader } from "./byte_reader.ts";
import type {
  CandidateRow,
  ExportHeader,
  Minipool,
  StreamHead,
  StreamTail,
} from "./model.ts";
import {
  decodeBlock,
  decodeCandidate,
  decodeStream,
  Digests,
  firstChain,
  formatName,
  formatVersion,
  magic,
  maxRecordBytes,
  type RecordType,
} from "./records.ts";
import { StreamRules } from "./rules.ts";

/** The parts of a file, in order. */
export type ExportEvent =
  | { is: "header"; header: ExportHeader; mark: Mark }
  | { is: "begin"; head: StreamHead }
  | { is: "block"; block: MiniblockRow }
  | { is: "end"; head: StreamHead; tail: StreamTail; mark: Mark }
  /**
   * The source changed while the stream was read: forget everything since
   * `begin`.
   */
  | { is: "withdrawn"; head: StreamHead; mark: Mark }
  | { is: "trailer"; streams: bigint };

/** A position at which a file can be continued. */
export interface Mark {
  /** The bytes before the position. */
  offset: number;
  streams: bigint;
  chain: Uint8Array;
}

/** The error of a file that ends too early. */
function cutExport(expected: string, offset: number): StreamStorageError {
  return badExport(expected, "the end", offset, true);
}

/** Whether an error says only that the file ends too early. */
export function isCutExport(error: unknown): boolean {
  return error instanceof StreamStorageError && error.details.isCut === true;
}

/** The error of a file that is not an export, is damaged, or was cut. */
function badExport(
  expected: string,
  found: string,
  offset: number,
  isCut = false,
): StreamStorageError {
  return fault(
    "BAD_CONFIG",
    "bad_export",
    `The file is damaged or not an export: expected ${expected}, found ${found} ` +
      `at byte ${offset}`,
    { offset, ...(isCut && { isCut }) },
  );
}

/** The most bytes of a header; headers are short. */
const maxHeaderBytes = 64 * 1024;

interface FileRecord {
  type: RecordType;
  payload: Buffer;
  /** The position of the record's first byte. */
  offset: number;
}

/** The stream that is being read. */
interface Present {
  head: StreamHead;
  rules: StreamRules;
  minipool: { generation: bigint; envelopes: Uint8Array[] } | undefined;
  candidates: CandidateRow[];
}

/** See the file's head. */
export async function* decodeExport(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<ExportEvent> {
  await using reader = new ByteReader(source);
  const { header, digests } = await readHeader(reader);
  yield { is: "header", header, mark: markOf(reader, digests) };
  let present: Present | undefined;
  for (;;) {
    const record = await readRecord(reader, (bytes, type) => {
      if (type !== "E" && type !== "X" && type !== "T") digests.update(bytes);
    });
    const { type, payload } = record;
    if (type === "T" && present === undefined) {
      await checkTrailer(reader, record, digests);
      yield { is: "trailer", streams: digests.streams };
      return;
    }
    if (type === "S" && present === undefined) {
      const head = decodeStream(payload) ?? wrong(record, "a stream");
      const rules = new StreamRules(head);
      present = { head, rules, minipool: undefined, candidates: [] };
      yield { is: "begin", head };
    } else if (present === undefined) {
      return wrong(record, "a stream or the end");
    } else if (type === "B") {
      const block = decodeBlock(payload) ?? wrong(record, "a block");
      if (present.minipool || present.candidates.length > 0) {
        return wrong(record, "no block after the minipool");
      }
      present.rules.block(block);
      yield { is: "block", block };
    } else if (type === "E" || type === "X") {
      yield close(reader, { record, digests, present });
      present = undefined;
    } else addToTail(present, record);
  }
}

async function readHeader(
  reader: ByteReader,
): Promise<{ header: ExportHeader; digests: Digests }> {
  const start = await reader.read(magic.length);
  if (start === undefined) throw cutExport("an export of streams", 0);
  if (!start.equals(magic)) {
    throw badExport("an export of streams", "something else", 0);
  }
  const parts: Uint8Array[] = [start];
  const record = await readRecord(
    reader,
    (bytes) => parts.push(bytes),
    maxHeaderBytes,
  );
  const header = record.type === "H"
    ? parseHeader(record.payload)
    : wrong(record, "a header");
  if (header === undefined) return wrong(record, `format ${formatName}`);
  if (header.version !== formatVersion) {
    throw fault(
      "BAD_CONFIG",
      "unknown_export_version",
      `The export is of an unknown version: expected ${formatVersion}, ` +
        `found ${header.version}`,
      { version: header.version },
    );
  }
  return { header, digests: new Digests(firstChain(...parts)) };
}

function parseHeader(payload: Buffer): ExportHeader | undefined {
  try {
    const header = JSON.parse(payload.toString());
    return header?.format === formatName &&
        Number.isSafeInteger(header.version)
      ? header
      : undefined;
  } catch {
    return undefined;
  }
}

async function readRecord(
  reader: ByteReader,
  receive: (bytes: Uint8Array, type: RecordType) => void,
  most = maxRecordBytes,
): Promise<FileRecord> {
  const { offset } = reader;
  const head = await reader.read(5);
  if (head === undefined) throw cutExport("a record", offset);
  const size = head.readUInt32BE(0);
  const type = head.toString("latin1", 4, 5) as RecordType;
  if (size < 1 || size > most) {
    throw badExport(`a record of 1 to ${most} bytes`, `${size}`, offset);
  }
  const payload = await reader.read(size - 1);
  if (payload === undefined) throw cutExport("a whole record", offset);
  receive(head, type);
  receive(payload, type);
  return { type, payload, offset };
}

function addToTail(present: Present, record: FileRecord): void {
  const { type, payload } = record;
  const { minipool, candidates } = present;
  const isInMinipool = candidates.length === 0;
  if (type === "M" && !minipool && isInMinipool && payload.length === 8) {
    const generation = payload.readBigInt64BE();
    present.minipool = { generation, envelopes: [] };
  } else if (type === "V" && minipool && isInMinipool) {
    minipool.envelopes.push(payload);
  } else if (type === "C") {
    candidates.push(decodeCandidate(payload) ?? wrong(record, "a candidate"));
  } else wrong(record, "another part of a stream");
}

function close(
  reader: ByteReader,
  { record, digests, present }: {
    record: FileRecord;
    digests: Digests;
    present: Present;
  },
): ExportEvent {
  const type = record.type as "E" | "X";
  const { head, rules, minipool, candidates } = present;
  if (!record.payload.equals(digests.close(type))) {
    return wrong(record, `the digest of stream ${head.streamId}`);
  }
  const mark = markOf(reader, digests);
  if (type === "X") return { is: "withdrawn", head, mark };
  const tail: { minipool: Minipool | undefined; candidates: CandidateRow[] } = {
    minipool,
    candidates,
  };
  rules.tail(tail);
  return { is: "end", head, tail, mark };
}

async function checkTrailer(
  reader: ByteReader,
  record: FileRecord,
  { streams, chain }: Digests,
): Promise<void> {
  const { payload } = record;
  const isRight = payload.length === 40 &&
    payload.readBigInt64BE(0) === streams &&
    payload.subarray(8).equals(chain);
  if (!isRight) wrong(record, `the digest of ${streams} streams`);
  const { offset } = reader;
  if (await reader.read(1) !== undefined || reader.isCut) {
    throw badExport("the end", "more", offset);
  }
}

function markOf({ offset }: ByteReader, { streams, chain }: Digests): Mark {
  return { offset, streams, chain };
}

function wrong({ type, offset }: FileRecord, expected: string): never {
  const found = /^[A-Z]$/.test(type) ? `a record ${type}` : "another record";
  throw badExport(expected, found, offset);
}
