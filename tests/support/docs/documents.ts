/** The Markdown that users read, and its parts, for tests that compare them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../root.ts";

/** A fenced block of code. */
export interface CodeBlock {
  /** The document's path in the repository. */
  path: string;
  /** The line of the opening fence. */
  line: number;
  /** The word behind the fence, such as `ts`. */
  language: string;
  text: string;
  /** The comment `<!-- snippet: … -->` right before the block; else empty. */
  mark: string;
}

/** README.md and everything below docs/, by path in the repository. */
export function documentPaths(): string[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true })
    .map(String).filter((path) => path.endsWith(".md")).sort();
  return [
    "README.md",
    "CONTRIBUTING.md",
    ...docs.map((path) => `docs/${path}`),
  ];
}

/** The text of a file of the repository. */
export function readDocument(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/**
 * The modules whose doc comments users read: all except those in `database/`,
 * which has few public types.
 */
export function commentedPaths(): string[] {
  const src = readdirSync(join(root, "src"), { recursive: true }).map(String)
    .filter((path) => path.endsWith(".ts") && !path.startsWith("database/"))
    .sort();
  return ["mod.ts", ...src.map((path) => `src/${path}`)];
}

/** The fenced blocks of a document, or of the doc comments of a module. */
export function codeBlocks(path: string): CodeBlock[] {
  const text = readDocument(path);
  const lines = (path.endsWith(".ts")
    // Other lines become empty, so that lines keep their numbers.
    ? text.replace(/^(?! *\*(?: |$)).*$/gm, "").replace(/^ *\* ?/gm, "")
    : text).split("\n");
  const blocks: CodeBlock[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, indent, language] = /^( *)```(\w*)/.exec(lines[at]!) ?? [];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end < 0) throw new Error(`${path}:${at + 1}: Expected a closing fence`);
    const before = lines.slice(0, at).findLast((line) => line.trim() !== "");
    blocks.push({
      path,
      line: at + 1,
      language: language!,
      text: lines.slice(at + 1, end)
        .map((line) => line.slice(indent.length)).join("\n"),
      mark: /^<!-- snippet: (.*) -->$/.exec(before?.trim() ?? "")?.[1] ?? "",
    });
    at = end;
  }
  return blocks;
}

/** A document without its fenced blocks: prose, tables and links. */
export function proseOf(path: string): string {
  return readDocument(path).replace(/^( *)```[\s\S]*?^\1```$/gm, "");
}

/** The body of the table below the heading of this title, cell by cell. */
export function tableOf(path: string, title: string): string[][] {
  const heading = new RegExp(`^#+ ${title}\n`, "m");
  const section = readDocument(path).split(heading)[1]?.split(/^#/m)[0];
  if (section === undefined) throw new Error(`${path} has no "${title}"`);
  const rows = section.split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  return rows.slice(2);
}

/** The words in code style of a text. */
export function codeWords(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}

/** The anchors that GitHub gives to the headings of a document. */
export function anchorsOf(path: string): Set<string> {
  const headings = proseOf(path).matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(
      headings,
      ([, title]) =>
        title!.toLowerCase().replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
          .replaceAll(" ", "-"),
    ),
  );
}
