/** `status`: shows a store's server, versions, owner and size. */

import { clusterStatus } from "../../operator/cluster/cluster.ts";
import type { ClusterStatus } from "../../operator/cluster/types.ts";
import {
  findStores,
  type FoundStore,
} from "../../operator/status/find_stores.ts";
import { storeStatus } from "../../operator/status/store_status.ts";
import type { StoreStatus } from "../../operator/status/types.ts";
import { quoted } from "../../storage/foreign_text.ts";
import type { Cli } from "../cli.ts";
import { placementText, showCluster } from "../cluster/show_cluster.ts";
import { examples, type NewCommand, run } from "../command.ts";
import { formatBytes, formatCount, formatDuration, plural } from "../format.ts";
import { serverOf, withStore } from "../store_options.ts";

/** See the file's head. */
export function define(command: NewCommand): void {
  withStore(command)
    .addHelpText(
      "after",
      examples("status", "status --schema s0xab… --json"),
    )
    .action(run(async (cli, options) => {
      const url = await serverOf(options);
      const { signal } = cli;
      let { schema } = options;
      if (schema === undefined) {
        const stores = await findStores({ url, signal });
        if (stores.length !== 1) {
          const cluster = await clusterStatus({ url, signal });
          return await showStores(cli, stores, cluster);
        }
        schema = stores[0]!.schema;
      }
      const status = await storeStatus({ url, schema, signal });
      if (cli.isJson) await cli.document(status);
      else await show(cli, status);
      return 0;
    }));
}

async function showStores(
  cli: Cli,
  found: readonly FoundStore[],
  cluster: ClusterStatus | null,
): Promise<0> {
  const placed = new Set(cluster?.stores.map(({ schema }) => schema));
  // The connected server does not know the sizes of stores on other servers.
  const stores = found.filter(({ schema }) => !placed.has(schema));
  if (cli.isJson) {
    await cli.document({ stores, ...(cluster !== null && { cluster }) });
    return 0;
  }
  if (cluster !== null) {
    await showCluster(cli, cluster);
    if (stores.length > 0) await cli.print("", "On this server:");
    else if (placed.size === 0) await cli.print("");
  }
  if (found.length === 0) {
    await cli.print("No schema of this database looks like a store");
    return 0;
  }
  if (stores.length > 0) {
    await cli.table({
      columns: [
        { head: "Schema", shrinks: true },
        { head: "Streams, about", align: "right" },
        { head: "On disk, about", align: "right" },
      ],
      rows: stores.map(({ schema, streams, bytes }) => [
        schema,
        streams === null ? "unknown" : formatCount(streams),
        formatBytes(bytes),
      ]),
    });
  }
  await cli.print("", "Choose one with --schema.");
  return 0;
}

async function show(cli: Cli, status: StoreStatus): Promise<void> {
  await showFacts(cli, status);
  await showSessions(cli, status);
  await showStreams(cli, status);
  await showTables(cli, status);
}

async function showFacts(cli: Cli, status: StoreStatus): Promise<void> {
  const { server, schema, versions, currentVersions, partitions } = status;
  const isCurrent = versions.node === currentVersions.node &&
    versions.own === currentVersions.own;
  const version = `node track ${versions.node || "none"}, own track ` +
    `${versions.own || "none"}`;
  const hint = status.isDirty
    ? cli.colour.red(" (dirty: a migration failed half-way)")
    : isCurrent
    ? ""
    : cli.colour.yellow(
      ` (this release: ${currentVersions.node} and ${currentVersions.own})`,
    );
  const facts: [string, string][] = [
    [
      "Server",
      `PostgreSQL ${server.version}, ` +
      (server.isStandby ? "standby, " : "") + `since ${server.startedAt}`,
    ],
    ["Database", `${server.database}, ${formatBytes(server.databaseBytes)}`],
    ["Schema", `${quoted(schema)}, ${version}${hint}`],
    ["Partitions", String(partitions ?? "not stored")],
    ...(status.placement === null
      ? []
      : [["Worker node", placementText(status.placement)] as [string, string]]),
    ["Owner", ownerText(cli, status)],
    ["Lock", lockText(status)],
  ];
  await cli.print(
    ...facts.map(([name, text]) =>
      `${cli.colour.bold(name.padEnd(12))}${text}`
    ),
  );
}

function ownerText(cli: Cli, { owner }: StoreStatus): string {
  if (owner === undefined) return "unknown: this role may not read it";
  if (owner === null) return cli.colour.yellow("none");
  const place = owner.info === null ? "" : `, ${owner.info}`;
  return `${owner.name}${place},\n${" ".repeat(12)}since ${owner.since}`;
}

function lockText(
  { lockHolders, server, placement }: StoreStatus,
): string {
  if (server.isStandby) return "not visible on a standby";
  if (placement?.isHere === false) return "seen on its worker node only";
  if (lockHolders === undefined) return "unknown: this role may not look";
  if (lockHolders.length === 0) return "free";
  return lockHolders.map(({ pid, role, application }) =>
    pid === null
      ? "held by a prepared transaction"
      : `held by session ${pid}, role ${role ?? "unknown"}, application ` +
        `${application ?? "unknown"}`
  ).join(`\n${" ".repeat(12)}`);
}

async function showSessions(
  cli: Cli,
  { sessions, server, longestTransaction: longest }: StoreStatus,
): Promise<void> {
  await cli.print(
    "",
    `${plural(server.connections, "connection")} of ` +
      `${formatCount(server.maxConnections)} on this server; ` +
      `other sessions in this database:`,
  );
  if (sessions.length > 0) {
    await cli.table({
      columns: [
        { head: "Application", shrinks: true },
        { head: "Role" },
        { head: "State" },
        { head: "Sessions", align: "right" },
      ],
      rows: sessions.map((each) => [
        each.application || "unknown",
        each.role ?? "unknown",
        each.state ?? "unknown",
        formatCount(each.sessions),
      ]),
    });
  } else await cli.print("none");
  if (longest !== undefined) {
    await cli.print(
      `Longest transaction: ${formatDuration(longest.seconds)}, session ` +
        `${longest.pid}, ${longest.application || "unknown"}`,
    );
  }
}

async function showStreams(cli: Cli, { streams }: StoreStatus): Promise<void> {
  await cli.print("");
  if (streams === undefined) {
    await cli.print("Streams: this role may not read them, or they are locked");
    return;
  }
  const sum = streams.reduce((sum, { streams }) => sum + streams, 0n);
  await cli.table({
    columns: [
      { head: "Streams" },
      { head: "" },
      { head: "Where" },
      { head: "Number", align: "right" },
    ],
    rows: streams.map(({ type, isEphemeral, location, streams }) => [
      type,
      isEphemeral ? "ephemeral" : "",
      location,
      formatCount(streams),
    ]),
    total: ["all", "", "", formatCount(sum)],
  });
}

async function showTables(
  cli: Cli,
  { tables, areSizesEstimated }: StoreStatus,
): Promise<void> {
  const sum = (
    of: "tables" | "tableBytes" | "indexBytes" | "rows" | "deadRows",
  ) => tables.reduce((sum, each) => sum + each[of], 0n);
  await cli.print("");
  await cli.table({
    columns: [
      { head: "Tables", shrinks: true },
      { head: "", align: "right" },
      { head: "Bytes", align: "right" },
      { head: "Indexes", align: "right" },
      { head: "Rows", align: "right" },
      { head: "Dead", align: "right" },
      { head: "Last vacuum" },
    ],
    rows: tables.map((each) => [
      each.name,
      formatCount(each.tables),
      formatBytes(each.tableBytes),
      formatBytes(each.indexBytes),
      formatCount(each.rows),
      formatCount(each.deadRows),
      each.lastVacuum?.slice(0, 10) ?? "never",
    ]),
    total: [
      "all",
      formatCount(sum("tables")),
      formatBytes(sum("tableBytes")),
      formatBytes(sum("indexBytes")),
      formatCount(sum("rows")),
      formatCount(sum("deadRows")),
    ],
  });
  await cli.print(
    areSizesEstimated
      ? "Sizes are estimated: a lock keeps them from being measured."
      : "Rows are the server's estimates.",
  );
}
