import type { StreamStorage } from "../../mod.ts";
import { displayWidth, wrapped } from "../../src/cli/screen.ts";
import { formatMiniblocks } from "../../src/testing/format_miniblocks.ts";
import type { StreamHistory } from "./stream_author.ts";

/** What is stored of a stream. */
export interface StreamPicture {
  streamId: string;
  /** The result of `formatMiniblocks`. */
  picture: string;
  /** What is special about the stream. */
  note?: string;
}

/** Draws all streams that have not been deleted. */
export async function drawStreams(
  storage: StreamStorage,
  histories: readonly StreamHistory[],
): Promise<StreamPicture[]> {
  const pictures: StreamPicture[] = [];
  for (const { expected: { streamId, state }, note } of histories) {
    if (state === "deleted") continue;
    const picture = await formatMiniblocks(storage, streamId);
    pictures.push({ streamId, picture, ...(note !== undefined && { note }) });
  }
  return pictures;
}

/**
 * Formats a line for each stream, with its name and its blocks in columns. If a
 * line is too wide, the text about the stream goes into the next one.
 */
export function formatPictures(
  pictures: readonly StreamPicture[],
  width: number,
): string[] {
  const parts = pictures.map(({ picture, note }) => {
    const [, name = "", drawing = "", facts = ""] =
      /^(\S+ \S+) (\S+)\s(.*)$/s.exec(picture) ?? [];
    return { name, drawing, facts: note ? `${facts} │ ${note}` : facts };
  });
  const widthOf = (key: "name" | "drawing") =>
    Math.max(...parts.map((part) => part[key].length));
  const nameWidth = widthOf("name");
  const drawingWidth = widthOf("drawing");
  const lines = parts.map(({ name, drawing, facts }) =>
    `${name.padEnd(nameWidth)} ${drawing.padEnd(drawingWidth)} ${facts}`
  );
  if (lines.every((line) => displayWidth(line) <= width)) return lines;
  return parts.flatMap(({ name, drawing, facts }) => [
    `${name.padEnd(nameWidth)} ${drawing}`,
    ...wrapped(facts, width, "    ").split("\n"),
  ]);
}
