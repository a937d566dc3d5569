/**
 * The package as snippets of the documentation get it. Their options are checked
 * as they stand; where an address is only an example, the store opens on the
 * tests' server instead, in a schema of its own.
 */
import { randomUUID } from "node:crypto";
import { openStreamStorage as open } from "../../../mod.ts";
import { resolveOptions } from "../../../src/postgres/options.ts";
import { testDatabaseUrl } from "../database.ts";

export * from "../../../mod.ts";

/** Addresses of servers that are there. */
export const realUrls = new Set<string>();

/** Schemas that snippets have made on the tests' server. */
export const madeSchemas = new Set<string>();

export const openStreamStorage: typeof open = async (options) => {
  resolveOptions(options);
  const {
    url,
    host: _host,
    port: _port,
    user: _user,
    password: _password,
    database: _database,
    ssl: _ssl,
    ownershipUrl: _ownershipUrl,
    channelBinding: _channelBinding,
    requireAuth: _requireAuth,
    ...others
  } = options;
  const isReal = url !== undefined && realUrls.has(url);
  const schema = isReal
    ? options.schema
    : `snippet_${randomUUID().replaceAll("-", "")}`;
  const address = isReal ? url : await testDatabaseUrl();
  if (address === await testDatabaseUrl()) madeSchemas.add(schema);
  return await open({
    partitions: 1,
    startupDelayMs: 0,
    ...others,
    // Made by hand in the example.
    ...(options.migrate === undefined || isReal ? {} : { migrate: "apply" }),
    url: address,
    schema,
  });
};
