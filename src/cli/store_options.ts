/** The options that name a server or a store, and how they are found. */

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

/** A store's server and schema. */
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
    ["--url-file <file>", "the server, from a file that only you can read"],
    ...more,
    ["--json", "print JSON"],
  ] as const;
  for (const [flags, description] of options) {
    command.option(flags, description);
  }
  return command;
}

/**
 * Adds the options of commands that write, which only a schema's owner may do.
 */
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

/** The given address with its password; undefined if none was given. */
export async function findServer(
  { url, urlFile }: ServerOptions,
): Promise<string | undefined> {
  return await connectionUrl(
    { url, "url-file": urlFile },
    process.env[urlVariable] || undefined,
  );
}

/**
 * The given address with its password.
 *
 * @throws {UsageError} no address was given.
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

/** The most stores that an error names if there are several. */
const maxNamed = 5;

/**
 * Finds the store: that of `--schema`, or the database's only one.
 *
 * @throws {UsageError} there are several stores, or none.
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
