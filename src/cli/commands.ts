/** The list of commands. A command's module is loaded only when it is used. */

import type { CommandModule } from "./command.ts";

/** A command, in the order of the help. */
export interface ListedCommand {
  name: string;
  /** The command's line in the help. */
  summary: string;
  load(): Promise<CommandModule>;
}

/** All commands. */
export const commands: readonly ListedCommand[] = [
  {
    name: "status",
    summary: "show server, versions, owner, sessions, streams and tables",
    load: () => import("./commands/status.ts"),
  },
  {
    name: "usage",
    summary: "show what takes the space, and what would free it",
    load: () => import("./commands/usage.ts"),
  },
  {
    name: "list",
    summary: "list streams by type, size, gaps and more",
    load: () => import("./commands/list.ts"),
  },
  {
    name: "inspect",
    summary: "show one stream: blocks, snapshots, minipool, candidates",
    load: () => import("./commands/inspect.ts"),
  },
  {
    name: "verify",
    summary: "find what is wrong in a store",
    load: () => import("./commands/verify.ts"),
  },
  {
    name: "repair",
    summary: "plan repairs of a store, make them, undo them",
    load: () => import("./commands/repair.ts"),
  },
  {
    name: "export",
    summary: "write streams into a file that can be verified",
    load: () => import("./commands/export.ts"),
  },
  {
    name: "import",
    summary: "verify an exported file, and write its streams into a store",
    load: () => import("./commands/import.ts"),
  },
  {
    name: "copy",
    summary: "copy streams from one store to another, and compare them",
    load: () => import("./commands/copy.ts"),
  },
  {
    name: "diff",
    summary: "show which streams differ between two stores",
    load: () => import("./commands/diff.ts"),
  },
  {
    name: "trim",
    summary: "show what trimming would remove, or remove it",
    load: () => import("./commands/trim.ts"),
  },
  {
    name: "media",
    summary: "manage streams in object storage: status, reconcile, rehydrate",
    load: () => import("./commands/media.ts"),
  },
  {
    name: "move",
    summary: "move a store to another worker node of its cluster",
    load: () => import("./commands/move.ts"),
  },
  {
    name: "plan-fleet",
    summary: "plan the servers that many stores need",
    load: () => import("./commands/plan_fleet.ts"),
  },
  {
    name: "doctor",
    summary: "find what is wrong with a server and a store",
    load: () => import("./commands/doctor.ts"),
  },
  {
    name: "watch",
    summary: "show a store at work on one screen",
    load: () => import("./commands/watch.ts"),
  },
  {
    name: "bench",
    summary: "measure what a store can do on this server",
    load: () => import("./commands/bench.ts"),
  },
  {
    name: "migrate",
    summary: "bring a schema up to date, undo versions, print the SQL",
    load: () => import("./commands/migrate.ts"),
  },
];
