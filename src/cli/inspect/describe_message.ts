/**
 * Shows a message of the protocol as lines of field numbers and values, because
 * the names are not known here. A field that decodes as a message is shown as
 * one.
 */

import { Buffer } from "node:buffer";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Nested messages are shown down to this depth. */
const maxDepth = 12;

/** The lines of a message. */
export function describeMessage(data: Uint8Array): string[] {
  return linesOf(data, "", 0) ?? [shownBytes(data)];
}

/** Decodes a message; undefined if the data are not one. */
function linesOf(
  data: Uint8Array,
  indent: string,
  depth: number,
): string[] | undefined {
  if (data.length === 0 || depth > maxDepth) return undefined;
  const lines: string[] = [];
  const reader = new BinaryReader(data);
  try {
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      lines.push(...fieldLines(reader, field, type, indent, depth));
    }
  } catch {
    return undefined;
  }
  return lines;
}

function fieldLines(
  reader: BinaryReader,
  field: number,
  type: WireType,
  indent: string,
  depth: number,
): string[] {
  const head = `${indent}${field}: `;
  switch (type) {
    case WireType.Varint:
      return [head + reader.uint64()];
    case WireType.Bit64:
      return [`${head}${reader.fixed64()} (64 bits)`];
    case WireType.Bit32:
      return [`${head}${reader.fixed32()} (32 bits)`];
    case WireType.LengthDelimited: {
      const value = reader.bytes();
      const inner = isText(value)
        ? undefined
        : linesOf(value, `${indent}  `, depth + 1);
      return inner === undefined
        ? [head + shownBytes(value)]
        : [`${head}{`, ...inner, `${indent}}`];
    }
    default:
      // No message of the protocol has groups.
      throw new Error("not a message");
  }
}

/** Whether the bytes are printable text of at least a few characters. */
function isText(value: Uint8Array): boolean {
  return value.length >= 4 &&
    value.every((byte) => byte >= 0x20 && byte < 0x7f);
}

function shownBytes(value: Uint8Array): string {
  return isText(value)
    ? JSON.stringify(Buffer.from(value).toString("latin1"))
    : `0x${Buffer.from(value).toString("hex")}`;
}
