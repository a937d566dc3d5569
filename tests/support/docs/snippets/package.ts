/**
 * The package for snippets. It checks their options as they are. If the URL is
 * only an example, a store opens on the tests' server instead, where all stores
 * share a schema one after another, and a reader reads the tests' own store.
 */
import {
  openStreamReader as openReader,
  openStreamStorage as open,
  type StreamStorageOptions,
} from "../../../../mod.ts";
import { resolveOptions } from "../../../../src/postgres/resolved_options.ts";
import { resolveReaderOptions } from "../../../../src/postgres/reader_options.ts";
import { testDatabaseUrl } from "../../database.ts";

export * from "../../../../mod.ts";

/** The URLs of servers that exist. */
export const realUrls = new Set<string>();

/** Schemas that snippets have made on the tests' server. */
export const madeSchemas = new Set<string>();

/** The schema that readers read, and the schema of snippets' own stores. */
export const schemas = { readable: "", own: "" };

export const openStreamStorage: typeof open = async (options) => {
  resolveOptions(options);
  const { url, schema } = options;
  const isReal = url !== undefined && realUrls.has(url);
  const address = isReal ? url : await testDatabaseUrl();
  const { ownershipUrl: _ownershipUrl, ...others } = withoutAddress(options);
  const its = isReal ? schema : schemas.own;
  if (address === await testDatabaseUrl()) madeSchemas.add(its);
  return await open({
    partitions: 1,
    startupDelayMs: 0,
    ...others,
    // The example assumes a schema that was migrated by hand.
    ...(options.migrate === undefined || isReal ? {} : { migrate: "apply" }),
    url: address,
    schema: its,
  });
};

export const openStreamReader: typeof openReader = async (options) => {
  resolveReaderOptions(options);
  return await openReader({
    ...withoutAddress(options),
    url: await testDatabaseUrl(),
    schema: schemas.readable,
  });
};

function withoutAddress<T extends Partial<StreamStorageOptions>>(options: T) {
  const {
    url: _url,
    host: _host,
    port: _port,
    user: _user,
    password: _password,
    database: _database,
    ssl: _ssl,
    channelBinding: _channelBinding,
    requireAuth: _requireAuth,
    ...others
  } = options;
  return others;
}
