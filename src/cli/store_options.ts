/** Options of every command that works on a store, and the store they mean. */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import process from "node:process";
import { findStores } from "../operator/status/find_stores.ts";
import { quoted } from "../storage/foreign_text.ts";
import type { Cli } from "./cli.ts";
import type { AnyCommand } from "./command.ts";
import { connectionUrl, urlVariable } from "./connection_url.ts";
import { UsageError } from "./usage_errors.ts";

// Types, not interfaces: only those are records to commander's types.

/** What {@linkcode withServer} adds. */
export type ServerOptions = {
  url?: string | undefined;
  urlFile?: string | undefined;
  json?: true | undefined;
};

/** What {@linkcode withStore} adds. */
export type StoreOptions = ServerOptions & {
  schema?: string | undefined;
};

/** What {@linkcode withOwner} adds. */
export type OwnerOptions = { takeOver?: true | undefined };

/** Where a store is. */
export interface StorePlace {
  url: string;
  schema: string;
}

/** Adds the options that name a server, and `--json`. */
export function withServer<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(command: Command<A, O, G>): Command<A, O & ServerOptions, G> {
  return addOptions(command, []) as Command<A, O & ServerOptions, G>;
}

/** Adds the options that name a store, and `--json`. */
export function withStore<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(command: Command<A, O, G>): Command<A, O & StoreOptions, G> {
  return addOptions(command, [
    ["--schema <name>", "its schema (default: the database's only store)"],
  ]) as Command<A, O & StoreOptions, G>;
}

function addOptions(
  command: AnyCommand,
  more: readonly [string, string][],
): AnyCommand {
  const options = [
    [
      "--url <url>",
      "the server, postgresql://user@host:port/database; - reads it from " +
      `standard input (default: the environment's ${urlVariable})`,
    ],
    ["--url-file <file>", "the same from a file that only you can read"],
    ...more,
    ["--json", "print JSON"],
  ] as const;
  for (const [flags, description] of options) {
    command.option(flags, description);
  }
  return command;
}

/** Adds what a command has that writes: only the owner of a schema may. */
export function withOwner<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(
  command: Command<A, O, G>,
): Command<A, O & OwnerOptions, G> {
  return command.option(
    "--take-over",
    "take the schema from an instance that owns it",
  ) as unknown as Command<A, O & OwnerOptions, G>;
}

/** The address that was given, with its password; undefined if none was. */
export async function findServer(
  { url, urlFile }: ServerOptions,
): Promise<string | undefined> {
  return await connectionUrl(
    { url, "url-file": urlFile },
    process.env[urlVariable] || undefined,
  );
}

/**
 * The address that was given, with its password.
 *
 * @throws {UsageError} there is none.
 */
export async function serverOf(
  { url, urlFile }: ServerOptions,
): Promise<string> {
  const found = await findServer({ url, urlFile });
  if (found !== undefined) return found;
  throw new UsageError(
    `Expected a server: --url, --url-file or the environment's ${urlVariable}`,
  );
}

/** So many are named when there is not just one. */
const maxNamed = 5;

/**
 * The store that was meant: that of `--schema`, or the only one there is.
 *
 * @throws {UsageError} there are several, or none.
 */
export async function storeOf(
  options: StoreOptions,
  { signal }: Pick<Cli, "signal">,
): Promise<StorePlace> {
  const url = await serverOf(options);
  if (options.schema !== undefined) return { url, schema: options.schema };
  const stores = await findStores({ url, signal });
  const [first, ...others] = stores.map(({ schema }) => schema);
  if (first === undefined) {
    throw new UsageError(
      "Expected a database with a store, found no schema that looks like one",
    );
  }
  if (others.length === 0) return { url, schema: first };
  const named = [first, ...others].slice(0, maxNamed).map((name) =>
    quoted(name)
  ).join(", ");
  throw new UsageError(
    `Expected --schema, found ${stores.length} stores: ${named}` +
      (stores.length > maxNamed ? " and others" : ""),
  );
}
