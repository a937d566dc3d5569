/** Shows one block in the wanted form. */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import process from "node:process";
import { readBlock } from "../../operator/inspect/blocks.ts";
import type {
  ReadBlockOptions,
  StoredBlock,
} from "../../operator/inspect/types.ts";
import { decodeMiniblock } from "../../operator/verify/deep/miniblock.ts";
import { hasLegacySnapshot } from "../../storage/miniblock_proto.ts";
import type { Cli } from "../cli.ts";
import { formatBytes, plural } from "../format.ts";
import { UsageError } from "../usage_errors.ts";
import { describeMessage } from "./describe_message.ts";

/** The form of a block; `decoded` shows no payload. */
export type BlockForm = "decoded" | "raw" | "hex" | "proto";

/** Reads and prints a block. */
export async function showBlock(
  cli: Cli,
  options: ReadBlockOptions,
  form: BlockForm,
): Promise<void> {
  if (form === "raw" && process.stdout.isTTY) {
    throw new UsageError(
      "Expected a file or a pipe for --raw, found a terminal: see --hex",
    );
  }
  const block = await readBlock(options);
  switch (form) {
    case "raw":
      return await cli.bytes(block.data);
    case "hex":
      return await cli.print(Buffer.from(block.data).toString("hex"));
    case "proto":
      return await cli.print(...describeMessage(block.data));
  }
  const decoded = decode(block);
  if (cli.isJson) await cli.document(decoded);
  else await cli.print(...describe(decoded));
}

const maxHashes = 20;

function decode({ streamId, number, data, snapshot }: StoredBlock) {
  const decoded = decodeMiniblock(data);
  const its = {
    streamId,
    number,
    bytes: data.length,
    sha256: createHash("sha256").update(data).digest("hex"),
    snapshotBytes: snapshot?.length ?? 0,
    holdsSnapshot: hasLegacySnapshot(data),
  };
  if (typeof decoded === "string") return { ...its, fault: decoded };
  const { header, previousHash, eventHashes, events } = decoded;
  return {
    ...its,
    header: {
      number: decoded.number,
      hash: hex(header.hash),
      previousHash: hex(previousHash),
      events: events.length,
      eventBytes: events.reduce((sum, { event }) => sum + event.length, 0),
      eventHashes: eventHashes.map(hex),
    },
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function describe(block: ReturnType<typeof decode>): string[] {
  const row = (name: string, text: string) => name.padEnd(13) + text;
  const { number, bytes, sha256, snapshotBytes, holdsSnapshot } = block;
  const snapshot = snapshotBytes > 0
    ? `beside it, ${formatBytes(snapshotBytes)}`
    : holdsSnapshot
    ? "inside of it"
    : "none";
  const first = [
    row("Block", `${number}, ${formatBytes(bytes)}`),
    row("SHA-256", sha256),
    row("Snapshot", snapshot),
  ];
  if (!("header" in block)) return [...first, row("Header", block.fault)];
  const { header } = block;
  const shown = header.eventHashes.slice(0, maxHashes);
  const more = header.eventHashes.length - shown.length;
  return [
    ...first,
    row("Header", `number ${header.number}`),
    row("  hash", header.hash || "none"),
    row("  previous", header.previousHash || "none"),
    row(
      "Events",
      `${plural(header.events, "event")}, ${formatBytes(header.eventBytes)}; ` +
        "their hashes in the header:",
    ),
    ...shown.map((hash) => row("", hash)),
    ...(more > 0 ? [row("", `and ${more} more, see --json`)] : []),
  ];
}
