/** Shared parts of the tests of secrets. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../../src/postgres/options.ts";
import { isStreamStorageError } from "../../../src/storage/errors.ts";
import { type GcsServer, startGcsServer } from "../media/gcs_server.ts";
import type { SecretSearch } from "./search.ts";

/** Defines tests that must search something, and must not find a secret. */
export function sweepBy(
  search: SecretSearch,
): (name: string, body: () => Promise<void>) => void {
  return (name, body) =>
    it(name, async () => {
      const before = search.texts;
      await body();
      assert.ok(search.texts > before);
      search.assertNothing();
    });
}

/** A bucket whose private key is a secret. */
export async function startSecretBucket(
  search: SecretSearch,
): Promise<GcsServer> {
  const bucket = await startGcsServer();
  const key = bucket.credentials["private_key"]!
    .replaceAll(/-----.*-----|\s/g, "");
  search.add("the bucket's private key", key.slice(100, 160));
  search.add("the bucket's private key, at its end", key.slice(-80, -20));
  return bucket;
}

export function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.port = String(port);
  return changed.href;
}

/** The error of an opening, which must fail with one of ours. */
export async function failure(options: unknown): Promise<unknown> {
  try {
    await using _ = await openStreamStorage(options as StreamStorageOptions);
  } catch (error) {
    assert.ok(isStreamStorageError(error), String(error));
    return error;
  }
  assert.fail("Expected the store not to open");
}
