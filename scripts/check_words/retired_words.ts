/** The table of retired words in `docs/glossary.md`. */

/** A row of the table. */
export interface RetiredWords {
  /** In lower case. */
  words: string[];
  instead: string;
  /** Only in names of TypeScript, not in comments and other text. */
  inNamesOnly: boolean;
  /** Files and folders, from the project's root; empty: everywhere. */
  paths: string[];
  /** Files and folders that may keep the words. */
  exceptions: string[];
}

const heading = "## Retired words";
const columns = "retired | say instead | in | except";

/**
 * Reads the table.
 *
 * @throws {Error} the page has no such table, or a row has no word or no place.
 */
export function readRetiredWords(glossary: string): RetiredWords[] {
  const section = glossary.split(`${heading}\n`)[1] ?? "";
  const [head, , ...rows] = section.split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  if (head?.join(" | ") !== columns || rows.length === 0) {
    throw new Error(`Expected a table "${columns}" below "${heading}"`);
  }
  return rows.map(([retired = "", instead = "", place = "", except = ""]) => {
    const row = {
      words: codeIn(retired),
      instead,
      inNamesOnly: place.startsWith("names "),
      paths: codeIn(place),
      exceptions: codeIn(except),
    };
    const isEverywhere = place.endsWith("everywhere");
    if (row.words.length === 0 || isEverywhere === row.paths.length > 0) {
      throw new Error(
        `Expected words and places, found "${retired}, ${place}"`,
      );
    }
    return row;
  });
}

function codeIn(cell: string): string[] {
  return Array.from(cell.matchAll(/`([^`]+)`/g), ([, code]) => code!);
}
