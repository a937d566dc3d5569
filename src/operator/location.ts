/** Reads where a stream's blocks are from the letter in its row of `es`. */

import type { StreamLocation } from "./status/types.ts";

const locations: Readonly<Record<string, StreamLocation>> = {
  D: "database",
  S: "s3",
  G: "gcs",
};

/** A constraint of the table admits these letters only. */
export function locationOf(letter: string): StreamLocation {
  return locations[letter] ?? "database";
}
