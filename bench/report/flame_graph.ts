/**
 * Draws where a thread spent its time: a box for each function, as wide as its
 * share of the samples, below the box of its caller. Samples of an idle thread
 * are left out.
 */

import { escaped, round, text } from "./svg.ts";

/** What the inspector's profiler returns, as far as it is drawn. */
export interface CpuProfile {
  nodes: ProfileNode[];
  /** The ids of the nodes in which the thread was found. */
  samples?: number[] | undefined;
}

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string };
  children?: number[] | undefined;
}

/** The texts above the graph. */
export interface Heading {
  title: string;
  subtitle: string;
}

/** What a function does, as the colors show it. */
const kinds = {
  decoding: { color: "#8fc9a3", text: "messages and rows" },
  copying: { color: "#f2c078", text: "memory and copies" },
  gc: { color: "#e58e84", text: "garbage collector" },
  socket: { color: "#b9a3d6", text: "socket" },
  own: { color: "#a3bde0", text: "other code of the store" },
  other: { color: "#d4d4d4", text: "runtime and benchmark" },
} as const;

type Kind = keyof typeof kinds;

interface Frame {
  label: string;
  kind: Kind;
}

interface Box extends Frame {
  samples: number;
  callees: Map<string, Box>;
}

const width = 960;
const margin = 16;
const rowHeight = 19;
const top = 84;
/** Of the font in which labels are written, about. */
const letterWidth = 6.2;
const minLetters = 4;
const maxLetters = 80;

/** Draws an SVG whose texts can be selected. */
export function flameGraph(profile: CpuProfile, heading: Heading): string {
  const all = treeOf(profile);
  const scale = (width - 2 * margin) / Math.max(1, all.samples);
  const lines: string[] = [];
  let deepest = 0;
  const draw = (box: Box, x: number, depth: number) => {
    deepest = Math.max(deepest, depth);
    lines.push(boxSvg(box, all.samples, {
      x,
      y: top + depth * rowHeight,
      width: box.samples * scale,
    }));
    // Below a box without a label, a column of others would say nothing.
    if (lettersIn(box.samples * scale) === 0) return;
    let at = x;
    for (const callee of widestFirst(box)) {
      // What is narrower than a pixel can't be seen.
      if (callee.samples * scale >= 1) draw(callee, at, depth + 1);
      at += callee.samples * scale;
    }
  };
  draw(all, margin, 0);
  const height = top + (deepest + 1) * rowHeight + margin;
  return [
    "<!-- deno-fmt-ignore-file -->",
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" ` +
    `height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="11" role="img">`,
    `<title>${escaped(heading.title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(margin, 26, heading.title, 'font-size="16"'),
    text(margin, 44, heading.subtitle, 'fill="#555"'),
    ...legend(),
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}

/** Merges the samples by their functions, whichever line they were in. */
function treeOf({ nodes, samples = [] }: CpuProfile): Box {
  const pathOf = paths(nodes);
  const all = boxOf({ label: "all samples", kind: "other" });
  for (const id of samples) {
    const path = pathOf(id);
    if (path === undefined) continue;
    all.samples++;
    let box = all;
    for (const frame of path) {
      let callee = box.callees.get(frame.label);
      if (callee === undefined) {
        box.callees.set(frame.label, callee = boxOf(frame));
      }
      callee.samples++;
      box = callee;
    }
  }
  return all;
}

function boxOf(frame: Frame): Box {
  return { ...frame, samples: 0, callees: new Map() };
}

/** The functions from the outermost to a node's own; undefined when idle. */
function paths(
  nodes: readonly ProfileNode[],
): (id: number) => readonly Frame[] | undefined {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callers = new Map(
    nodes.flatMap(({ id, children = [] }) =>
      children.map((child): [number, number] => [child, id])
    ),
  );
  const known = new Map<number, Frame[] | undefined>();
  const pathOf = (id: number): Frame[] | undefined => {
    if (known.has(id)) return known.get(id);
    const { callFrame } = byId.get(id)!;
    const caller = callers.get(id);
    const above = caller === undefined ? [] : pathOf(caller)!;
    const path = callFrame.functionName === "(idle)"
      ? undefined
      : below(above, callFrame);
    known.set(id, path);
    return path;
  };
  return pathOf;
}

/** Of functions of the runtime that call each other, only the last is shown. */
function below(
  above: readonly Frame[],
  { functionName, url }: ProfileNode["callFrame"],
): Frame[] {
  if (functionName === "(root)") return [];
  const frame = {
    label: labelOf(functionName, url),
    kind: kindOf(functionName, url),
  };
  const isPassedOver = isOfRuntime(frame) && isOfRuntime(above.at(-1));
  return [...(isPassedOver ? above.slice(0, -1) : above), frame];
}

function isOfRuntime(frame: Frame | undefined): boolean {
  return frame?.kind === "other" || frame?.kind === "socket";
}

/** Lines are left out: of TypeScript, some runtimes give those of its output. */
function labelOf(functionName: string, url: string): string {
  const name = functionName || "(anonymous)";
  const file = fileOf(url) ?? url.split("/").slice(-2).join("/");
  return file === "" ? name : `${name} · ${file}`;
}

/** The path in the store's source. */
function fileOf(url: string): string | undefined {
  return /\/src\/((?:database|postgres|storage|telemetry)\/.*)$/.exec(url)?.[1];
}

const copying =
  /^(slice|set|copy|fill|subarray|allocUnsafe|get buffer|Uint8Array|ArrayBuffer|Buffer)$/;
const socket = /^(write|send|read|recv|shutdown)/i;

function kindOf(name: string, url: string): Kind {
  const file = fileOf(url);
  if (file !== undefined) {
    return /^database\/(wire\/|answers|exchange)/.test(file)
      ? "decoding"
      : "own";
  }
  if (name === "(garbage collector)") return "gc";
  if (copying.test(name)) return "copying";
  const isSocket = /net|stream|tcp|tls/.test(url) ||
    (url === "" && socket.test(name));
  return isSocket ? "socket" : "other";
}

function widestFirst({ callees }: Box): Box[] {
  return [...callees.values()].sort((a, b) => b.samples - a.samples);
}

function boxSvg(
  { label, kind, samples }: Box,
  all: number,
  { x, y, width }: { x: number; y: number; width: number },
): string {
  const share = `${round(samples / Math.max(1, all) * 100)} %`;
  const full = `${label}, ${share}`;
  const letters = lettersIn(width);
  const shown = full.length <= letters ? full : label.slice(0, letters);
  return `<g><title>${escaped(full)}</title>` +
    `<rect x="${round(x)}" y="${y}" width="${
      round(Math.max(0, width - 0.5))
    }" ` +
    `height="${rowHeight - 1}" fill="${kinds[kind].color}"/>` +
    (letters === 0 ? "" : text(round(x + 3), y + 13, shown, 'fill="#222"')) +
    "</g>";
}

/** How long a label may be; 0 if too little of it could be read. */
function lettersIn(width: number): number {
  const letters = Math.floor((width - 6) / letterWidth);
  return letters < minLetters ? 0 : Math.min(maxLetters, letters);
}

function legend(): string[] {
  return Object.values(kinds).flatMap(({ color, text: meaning }, i) => {
    const x = margin + i * 155;
    return [
      `<rect x="${x}" y="56" width="12" height="12" fill="${color}"/>`,
      text(x + 17, 66, meaning, 'fill="#555"'),
    ];
  });
}
