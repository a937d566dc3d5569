/** Options of the commands that work on two stores. */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import type { Cli } from "./cli.ts";
import { urlVariable } from "./connection_url.ts";
import { storeOf, type StorePlace } from "./store_options.ts";

/** What {@linkcode withTwoStores} adds. */
export type TwoStoresOptions = {
  from?: string | undefined;
  fromFile?: string | undefined;
  fromSchema?: string | undefined;
  to?: string | undefined;
  toFile?: string | undefined;
  toSchema?: string | undefined;
  json?: true | undefined;
};

/** Adds the options that name two stores, and `--json`. */
export function withTwoStores<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(command: Command<A, O, G>): Command<A, O & TwoStoresOptions, G> {
  const fromEnvironment = `(default: the environment's ${urlVariable})`;
  return command
    .option("--from <url>", `the server of the source ${fromEnvironment}`)
    .option(
      "--from-file <file>",
      "the server, from a file that only you can read",
    )
    .option(
      "--from-schema <name>",
      "the source's schema (default: the database's only store)",
    )
    .option("--to <url>", `the server of the target ${fromEnvironment}`)
    .option(
      "--to-file <file>",
      "the server, from a file that only you can read",
    )
    .option(
      "--to-schema <name>",
      "the target's schema (default: the database's only store)",
    )
    .option("--json", "print JSON") as unknown as Command<
      A,
      O & TwoStoresOptions,
      G
    >;
}

/**
 * Finds both stores.
 *
 * @throws {UsageError} a database has several stores, or none.
 */
export async function twoStoresOf(
  options: TwoStoresOptions,
  cli: Pick<Cli, "signal">,
): Promise<{ from: StorePlace; to: StorePlace }> {
  const from = await storeOf({
    url: options.from,
    urlFile: options.fromFile,
    schema: options.fromSchema,
  }, cli);
  const to = await storeOf({
    url: options.to,
    urlFile: options.toFile,
    schema: options.toSchema,
  }, cli);
  return { from, to };
}
