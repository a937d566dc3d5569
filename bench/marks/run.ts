/**
 * Measures the rows in rounds. In each round every checkout is measured in every
 * runtime, one right after the other, so that whatever else the machine does
 * falls on all of them.
 */
import { libpqName, openLibpq } from "./libpq.ts";
import { drawProfile } from "./pictures.ts";
import { type Figures, otherSchema } from "./place.ts";
import { type MarkRow, markRows } from "./rows.ts";
import { type Runtime, Side } from "./side.ts";
import { type SizeName, sizes } from "./sizes.ts";
import { dropBenchSchema } from "../setup.ts";

/** How a run goes. */
export interface RunOptions {
  url: string;
  /** This checkout, and the one that it is compared with, if there is one. */
  checkouts: Checkout[];
  runtimes: Runtime[];
  rounds: number;
  /** Timed seconds of a measurement. */
  seconds: number;
  size: SizeName;
  /** Beginnings of the ids of the rows to measure; none for all. */
  only: string[];
  /** A directory for profiles of the first checkout; see pictures.ts. */
  profiles?: string | undefined;
  onProgress(text: string): void;
  /** A row is measured. */
  onResult(result: RowResult): void;
}

/** A checkout and its name in the table. */
export interface Checkout {
  name: string;
  directory: string;
}

/** What was measured of a row. */
export interface RowResult {
  row: MarkRow;
  sides: SideResult[];
}

/** What one side did, round by round; nothing if it can't do the row. */
export interface SideResult {
  checkout: string;
  runtime: string;
  rounds: Figures[];
}

/** A side as the rounds need it. */
interface Participant {
  checkout: string;
  runtime: string;
  /** Whether the row is measured on this side. */
  does(row: MarkRow): boolean;
  measure(row: MarkRow, seconds: number): Promise<Figures | undefined>;
  /** Saves a picture of what the row does on this side. */
  draw?(row: MarkRow, seconds: number, directory: string): Promise<void>;
}

/** Measures the rows one after another; drops its schemas at the end. */
export async function runMarks(options: RunOptions): Promise<void> {
  const { only, size, url, onProgress, onResult } = options;
  const rows = markRows.filter(({ id }) =>
    only.length === 0 || only.some((word) => id.startsWith(word))
  );
  await using stack = new AsyncDisposableStack();
  const sides: Participant[] = [];
  if (rows.some(isOfLibpq)) {
    onProgress("tables for libpq");
    const libpq = stack.use(await openLibpq(url, sizes[size].partitions));
    sides.push({
      checkout: libpqName,
      runtime: libpqName,
      does: isOfLibpq,
      measure: (row) => libpq.measure(row.id),
    });
  }
  sides.push(...await openSides(stack, options));
  for (const row of rows) onResult(await measureRow(row, sides, options));
}

/** Every checkout in every runtime. */
async function openSides(
  stack: AsyncDisposableStack,
  { url, checkouts, runtimes, size, onProgress }: RunOptions,
): Promise<Participant[]> {
  const run = Date.now();
  const sides: Participant[] = [];
  for (const [nth, runtime] of runtimes.entries()) {
    for (const { name: checkout, directory } of checkouts) {
      const name = `${checkout}, ${runtime}`;
      onProgress(`opening, ${name}`);
      const schema = `marks_${run}_${sides.length}`;
      for (const one of [schema, otherSchema(schema)]) {
        stack.defer(() => dropBenchSchema(url, one));
      }
      const options = { name, runtime, checkout: directory, url, schema, size };
      const side = stack.use(await Side.start(options));
      sides.push({
        checkout,
        runtime,
        does: (row) => !isOfLibpq(row) && !(row.inOneRuntime && nth > 0),
        measure: (row, seconds) => side.measure(row.id, seconds),
        ...(checkout === checkouts[0]!.name && {
          draw: (row: MarkRow, seconds: number, profiles: string) =>
            drawProfile(
              profiles,
              row,
              runtime,
              (path) => side.measure(row.id, seconds, path),
            ),
        }),
      });
    }
  }
  return sides;
}

function isOfLibpq({ id }: MarkRow): boolean {
  return id.endsWith("-psql");
}

async function measureRow(
  row: MarkRow,
  all: readonly Participant[],
  { rounds, seconds, profiles, onProgress }: RunOptions,
): Promise<RowResult> {
  const participants = all.filter((side) => side.does(row));
  const sides = participants.map(({ checkout, runtime }): SideResult => ({
    checkout,
    runtime,
    rounds: [],
  }));
  const failed = new Set<number>();
  const turn = async <T>(
    at: number,
    what: string,
    work: (side: Participant) => Promise<T> | undefined,
  ) => {
    const { checkout, runtime } = sides[at]!;
    if (failed.has(at)) return undefined;
    onProgress(`${row.id}, ${what}, ${checkout}, ${runtime}`);
    try {
      return await work(participants[at]!);
    } catch (error) {
      failed.add(at);
      onProgress(`${row.id}: ${(error as Error).message}\n`);
      return undefined;
    }
  };
  const measure = (side: Participant) => side.measure(row, seconds);
  const isWarmedUp = !row.inOneRuntime && seconds > 0;
  for (const at of isWarmedUp ? sides.keys() : []) {
    await turn(at, "warm-up", measure);
  }
  for (let round = 0; round < (row.once ? 1 : rounds); round++) {
    for (const at of order(sides.length, round)) {
      const figures = await turn(at, `round ${round + 1}`, measure);
      if (figures !== undefined) sides[at]!.rounds.push(figures);
    }
  }
  if (profiles !== undefined && !row.inOneRuntime) {
    for (const at of sides.keys()) {
      await turn(at, "profile", (side) => side.draw?.(row, seconds, profiles));
    }
  }
  return { row, sides };
}

/** Forwards and backwards in turn, so that none is always behind another. */
function order(count: number, round: number): number[] {
  const forwards = Array.from({ length: count }, (_, i) => i);
  return round % 2 === 0 ? forwards : forwards.reverse();
}
