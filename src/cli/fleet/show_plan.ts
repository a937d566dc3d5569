/** Shows a fleet's plan as tables. */

import type {
  FleetAssumption,
  FleetPlan,
  PlannedServer,
} from "../../operator/fleet/plan_fleet.ts";
import type { Cli } from "../cli.ts";
import { formatBytes, formatCount, formatDuration, plural } from "../format.ts";
import { wrapped } from "../screen.ts";

/** Prints servers, stores, moves and assumptions. */
export async function showPlan(cli: Cli, plan: FleetPlan): Promise<void> {
  await showServers(cli, plan);
  await showStores(cli, plan);
  if (plan.kind === "cluster") await showMoves(cli, plan);
  await cli.print(
    "",
    cli.colour.bold("Assumptions"),
    ...plan.assumptions.map((each) => assumption(each, cli.width)),
  );
}

async function showServers(cli: Cli, plan: FleetPlan): Promise<void> {
  const { workers, coordinator, servers } = plan;
  const ones = workers.length + (coordinator === null ? 0 : 1);
  const standbys = servers - ones;
  const kinds = [
    ...(coordinator === null ? [] : ["a coordinator"]),
    plural(
      workers.length,
      coordinator === null ? "plain server" : "worker node",
    ),
    ...(standbys === 0 ? [] : [plural(standbys, "standby", "standbys")]),
  ];
  await cli.print(
    `${cli.colour.bold(plural(servers, "server"))}: ${kinds.join(", ")}`,
    "",
  );
  const rows = grouped(workers).map(([name, worker]) =>
    serverRow(name, worker)
  );
  if (coordinator !== null) {
    rows.unshift(serverRow("coordinator", coordinator));
  }
  await cli.table({
    columns: [
      { head: "Server", shrinks: true },
      { head: "Stores", align: "right" },
      { head: "Disk", align: "right" },
      { head: "Memory", align: "right" },
      { head: "Cores", align: "right" },
      { head: "Connections", align: "right" },
      { head: "Relations", align: "right" },
      { head: "Log a day", align: "right" },
    ],
    rows,
  });
  await cli.print(
    wrapped(
      "Memory is that of the connections' processes, without shared buffers " +
        "and the system's cache. Disk includes the tables of all stores, but " +
        "not the log.",
      cli.width,
    ),
  );
}

/** Puts servers that are alike on one line. */
function grouped(
  workers: readonly PlannedServer[],
): [string, PlannedServer][] {
  const groups: { first: number; count: number; worker: PlannedServer }[] = [];
  for (const [i, worker] of workers.entries()) {
    const last = groups.at(-1);
    const isSame = last !== undefined &&
      JSON.stringify(last.worker) === JSON.stringify(worker);
    if (isSame) last.count++;
    else groups.push({ first: i + 1, count: 1, worker });
  }
  return groups.map(({ first, count, worker }) => [
    count === 1 ? String(first) : `${first} to ${first + count - 1}, each`,
    worker,
  ]);
}

function serverRow(name: string, server: PlannedServer): string[] {
  return [
    name,
    formatCount(server.stores),
    formatBytes(server.diskBytes),
    formatBytes(server.memoryBytes),
    server.cores.toFixed(server.cores < 10 ? 2 : 0),
    formatCount(server.connections),
    formatCount(server.relations),
    formatBytes(server.logBytesPerDay),
  ];
}

async function showStores(cli: Cli, { stores }: FleetPlan): Promise<void> {
  await cli.print("");
  await cli.table({
    columns: [
      { head: "Each store", shrinks: true },
      { head: "Number", align: "right" },
      { head: "Disk", align: "right" },
      { head: "Memory", align: "right" },
      { head: "Cores", align: "right" },
      { head: "Tables", align: "right" },
      { head: "Relations", align: "right" },
    ],
    rows: stores.map((store) => [
      store.name,
      formatCount(store.count),
      formatBytes(store.diskBytes),
      formatBytes(store.memoryBytes),
      store.cores.toFixed(store.cores < 10 ? 3 : 0),
      formatCount(store.tables),
      formatCount(store.relations),
    ]),
  });
}

async function showMoves(
  cli: Cli,
  { stores, addWorkerSeconds }: FleetPlan,
): Promise<void> {
  await cli.print("");
  await cli.table({
    columns: [
      { head: "Moving one", shrinks: true },
      { head: "Logical", align: "right" },
      { head: "Block-writes", align: "right" },
    ],
    rows: stores.map(({ name, logicalSeconds, blockingSeconds }) => [
      name,
      formatDuration(logicalSeconds),
      formatDuration(blockingSeconds),
    ]),
  });
  if (addWorkerSeconds !== null) {
    await cli.print(
      `One more worker node: ${
        formatDuration(addWorkerSeconds)
      } to move its share, ` +
        "one store after the other",
    );
  }
}

function assumption(
  { what, value, how }: FleetAssumption,
  width: number,
): string {
  return `${wrapped(`- ${what}: ${valueText(value)}`, width)}\n` +
    wrapped(how, width, "    ");
}

/** A figure, or the points of a line: `101 at 775, 39 at 3 651`. */
export function valueText(value: unknown): string {
  if (Array.isArray(value)) {
    return value.map(([x, y]: [number, number]) =>
      `${y >= 1e6 ? formatBytes(y) : formatCount(y)} at ${formatCount(x)}`
    ).join(", ");
  }
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value).map(([key, each]) =>
    `${key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${each}`
  ).join(", ");
}
