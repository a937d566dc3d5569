/**
 * `reconcileMedia` compares a bucket with a real database in both directions,
 * and deletes only what it is sure of. The option `mediaStorage` is checked.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openS3Bucket } from "../../src/media/s3.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { StreamId } from "../../src/storage/stream_id.ts";
import type { TestStreamStorage } from "../../src/testing/create_test_stream_storage.ts";
import { queryOnce } from "../support/database.ts";
import { startGcsServer } from "../support/media/gcs_server.ts";
import {
  mediaBlocks,
  newMediaId,
  onGcs,
  onS3,
  sealMedia,
} from "../support/media/streams.ts";
import { gcsPage } from "../support/media/real_replies.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { openTestStorage } from "../support/storage.ts";

describe("reconcileMedia", () => {
  let server: S3Server;
  let test: TestStreamStorage;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());

  const bucket = () => openS3Bucket(server.options);

  async function put(name: string, size = 7): Promise<void> {
    await bucket().putObject(
      name,
      size,
      async function* () {
        yield await Promise.resolve(new Uint8Array(size));
      }(),
    );
  }

  async function names(): Promise<string[]> {
    const all = await Array.fromAsync(bucket().listObjects(`${test.schema}/`));
    return all.map(({ name }) => name.slice(test.schema.length + 1)).sort();
  }

  /** Opens a store with so many streams in the bucket. */
  async function storeWith(streams: number): Promise<StreamId[]> {
    test = await openTestStorage({ mediaStorage: onS3(server) });
    const ids = [];
    for (let i = 0; i < streams; i++) ids.push(await sealMedia(test.storage));
    await test.storage.maintenance.offloadMedia();
    return ids;
  }

  const found = (report: object, ...fields: string[]) =>
    Object.fromEntries(
      Object.entries(report).filter(([name]) => fields.includes(name)),
    );

  it("finds objects that no stream uses, and streams without their objects", async () => {
    const ids = await storeWith(12);
    await using _ = test;
    const { schema, storage } = test;
    const { maintenance } = storage;
    const [lost, short] = [ids[0]!, ids[1]!];
    await bucket().deleteObject(`${schema}/${lost}`);
    await put(`${schema}/${short}`, 10);
    // Objects of a stream in the database, of no stream, and of other kinds.
    const here = await sealMedia(storage);
    const unused = [here, newMediaId()].sort();
    for (const id of unused) await put(`${schema}/${id}`);
    await put(`${schema}/notes.txt`);
    await put(`${schema}/${"10".repeat(32)}`);
    await put(`${schema}x/${newMediaId()}`);
    const before = await names();

    const report = await maintenance.reconcileMedia({
      dryRun: true,
      minAgeMs: 0,
    });
    assert.deepEqual({
      ...report,
      unusedObjects: report.unusedObjects.toSorted(),
      brokenStreams: report.brokenStreams.toSorted(),
    }, {
      dryRun: true,
      objects: 15,
      streams: 12,
      unused: 2,
      unusedBytes: 14,
      unusedObjects: unused.map((id) => `${schema}/${id}`),
      young: 0,
      foreign: 2,
      missing: 1,
      damaged: 1,
      inBothPlaces: 0,
      brokenStreams: [lost, short].sort(),
      deleted: 0,
    });
    assert.deepEqual(await names(), before);

    // By default, objects as young as these are not deleted.
    const young = await maintenance.reconcileMedia();
    const fields = ["unused", "young", "deleted", "refused"];
    assert.deepEqual(found(young, ...fields), {
      unused: 2,
      young: 2,
      deleted: 0,
    });
    assert.deepEqual(await names(), before);

    const done = await maintenance.reconcileMedia({ minAgeMs: 0 });
    assert.equal(done.deleted, 2);
    assert.deepEqual(
      await names(),
      before.filter((name) => !unused.includes(name as StreamId)),
    );
    for (const id of ids.slice(2)) {
      const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
      assert.deepEqual(miniblocks, mediaBlocks());
    }
  });

  it("deletes nothing if it would delete many objects", async () => {
    await storeWith(3);
    await using _ = test;
    const { schema, storage } = test;
    const { maintenance } = storage;
    for (let i = 0; i < 11; i++) await put(`${schema}/${newMediaId()}`);
    const fields = ["unused", "deleted", "refused"];
    for (const maxDeleted of [undefined, 10]) {
      const report = await maintenance.reconcileMedia({
        minAgeMs: 0,
        ...(maxDeleted === undefined ? {} : { maxDeleted }),
      });
      assert.deepEqual(found(report, ...fields), {
        unused: 11,
        deleted: 0,
        refused: "too_many_unused",
      });
    }
    const report = await maintenance.reconcileMedia({
      minAgeMs: 0,
      maxDeleted: 11,
    });
    assert.deepEqual(found(report, ...fields), { unused: 11, deleted: 11 });
    assert.equal((await names()).length, 3);
  });

  it("deletes nothing if the database does not fit the bucket", async () => {
    const ids = await storeWith(4);
    await using _ = test;
    const { schema, storage, url } = test;
    const { maintenance } = storage;
    await put(`${schema}/${newMediaId()}`);
    // In a restored backup, few or none of the streams are in the bucket.
    const where = [
      `WHERE stream_id = '${ids[0]}'`,
      "",
    ];
    for (const some of where) {
      await queryOnce(
        url,
        `UPDATE "${schema}".es SET blockdata_ext = 'D' ${some}`,
      );
      if (some !== "") {
        for (const id of ids.slice(1, 3)) {
          await bucket().deleteObject(`${schema}/${id}`);
        }
      }
      const report = await maintenance.reconcileMedia({ minAgeMs: 0 });
      assert.equal(report.refused, "database_does_not_fit");
      assert.equal(report.deleted, 0);
    }
  });

  it("spares an object that a stream uses by the time of its deletion", async () => {
    await storeWith(2);
    await using _ = test;
    const { storage } = test;
    const { maintenance } = storage;
    const id = await sealMedia(storage);
    // The object is uploaded, but not committed, when the bucket is listed.
    let reconciling: Promise<{ unused: number; deleted: number }> | undefined;
    const listed = Promise.withResolvers<void>();
    server.interfere = ({ method, target }, answer) => {
      if (target.includes("list-type")) {
        return answer().then((reply) => (listed.resolve(), reply));
      }
      if (method !== "HEAD" || reconciling !== undefined) return undefined;
      reconciling = maintenance.reconcileMedia({ minAgeMs: 0 });
      return listed.promise.then(answer);
    };
    await maintenance.offloadMedia({ streamId: id });
    const report = await reconciling!;
    server.interfere = undefined;
    assert.equal(report.deleted, 0);
    const { miniblocks } = await storage.readMiniblocks(id, 0n, 9n);
    assert.deepEqual(miniblocks, mediaBlocks());
  });
});

describe("reconcileMedia, while streams are moved and created again,", () => {
  it("reports none of them as broken", async () => {
    await using server = await startS3Server();
    const mediaStorage = onS3(server);
    await using test = await openTestStorage({ mediaStorage });
    const { schema, storage, url } = test;
    const { maintenance } = storage;
    const ids: StreamId[] = [];
    for (let i = 0; i < 3; i++) ids.push(await sealMedia(storage));
    await maintenance.offloadMedia();
    const other = mediaBlocks({ chunks: 5 });
    let late: StreamId | undefined;
    const looks: string[] = [];
    // The first look at the added stream's object finds nothing, and its row
    // has changed by the time of the look at it.
    const behindListing: typeof server.interfere = ({ method, target }) => {
      if (!target.includes(late!)) return undefined;
      if (method === "HEAD") looks.push(target);
      if (looks.length > 1) return undefined;
      const change = `UPDATE "${schema}".es SET migrated = migrated
        WHERE stream_id = '${late}'`;
      const body = "<Error><Code>NoSuchKey</Code></Error>";
      return queryOnce(url, change).then(() => ({ status: 404, body }));
    };
    server.interfere = ({ target }, answer) => {
      if (!target.includes("list-type")) return undefined;
      // After the listing, one stream is created again, and one is added.
      return answer().then(async (reply) => {
        server.interfere = undefined;
        await storage.deleteStream(ids[0]!);
        await sealMedia(storage, other, ids[0]!);
        late = await sealMedia(storage, other);
        await maintenance.offloadMedia();
        server.interfere = behindListing;
        return reply;
      });
    };
    const report = await maintenance.reconcileMedia({
      dryRun: true,
      minAgeMs: 0,
    });
    server.interfere = undefined;
    const { missing, damaged, brokenStreams, refused } = report;
    assert.deepEqual({ missing, damaged, brokenStreams, refused }, {
      missing: 0,
      damaged: 0,
      brokenStreams: [],
      refused: undefined,
    });
    assert.equal(looks.length, 2);
  });
});

describe("reconcileMedia with a bucket of several pages", () => {
  it("compares every stream and every object once", async () => {
    await using server = await startGcsServer({ pageSize: 700 });
    await using test = await openTestStorage({ mediaStorage: onGcs(server) });
    const { schema, storage } = test;
    const ids = [];
    for (let i = 0; i < 8; i++) ids.push(await sealMedia(storage));
    await storage.maintenance.offloadMedia();
    for (let i = 0; i < 2500; i++) {
      server.objects.set(`${schema}/${newMediaId()}`, new Uint8Array(1));
    }
    server.objects.delete(`${schema}/${ids[3]}`);
    const look = () =>
      storage.maintenance.reconcileMedia({ dryRun: true, minAgeMs: 0 });
    const report = await look();
    assert.deepEqual(
      [report.objects, report.streams, report.unused, report.unusedBytes],
      [2507, 8, 2500, 2500],
    );
    assert.deepEqual([report.missing, report.brokenStreams], [1, [ids[3]]]);
    assert.equal(report.unusedObjects.length, 1000);
    assert.equal(report.refused, "database_does_not_fit");
    const done = await storage.maintenance.reconcileMedia({
      minAgeMs: 0,
      maxDeleted: 2500,
    });
    assert.equal(done.deleted, 2500);
    assert.equal(server.objects.size, 7);
  });
});

describe("reconcileMedia with a bucket that ignores the prefix", () => {
  it("refuses the listing, and leaves the objects of others alone", async () => {
    await using server = await startGcsServer({ pageSize: 50 });
    const mediaStorage = onGcs(server);
    await using ours = await openTestStorage({ mediaStorage });
    await using theirs = await openTestStorage({ mediaStorage });
    for (const { storage } of [ours, theirs]) {
      for (let i = 0; i < 3; i++) await sealMedia(storage);
      await storage.maintenance.offloadMedia();
    }
    const before = [...server.objects.keys()].toSorted();
    server.interfere = ({ url }) =>
      url.searchParams.has("list-type")
        ? { status: 200, body: gcsPage(before) }
        : undefined;
    for (const { storage: { maintenance } } of [ours, theirs]) {
      for (const dryRun of [true, false]) {
        await assert.rejects(
          maintenance.reconcileMedia({ dryRun, minAgeMs: 0, maxDeleted: 99 }),
          (error) => {
            assert.ok(isStreamStorageError(error, "DOWNSTREAM_NETWORK_ERROR"));
            return error.details["reason"] === "listing_ignores_prefix";
          },
        );
      }
    }
    assert.deepEqual([...server.objects.keys()].toSorted(), before);
  });
});

describe("The option mediaStorage", () => {
  const s3 = {
    provider: "s3",
    bucket: "media",
    region: "eu-central-1",
    accessKeyId: "id",
    secretAccessKey: "do-not-show",
  };
  const broken: [what: string, option: unknown, fault: string][] = [
    ["no provider", { ...s3, provider: "azure" }, "mediaStorage.provider"],
    ["no bucket", { ...s3, bucket: "" }, "mediaStorage.bucket"],
    ["a path as a bucket", { ...s3, bucket: "a/b" }, "mediaStorage.bucket"],
    ["no region", { ...s3, region: undefined }, "mediaStorage.region"],
    ["a host as a region", { ...s3, region: "a.b" }, "mediaStorage.region"],
    ["no key", {
      ...s3,
      secretAccessKey: "",
    }, "mediaStorage.secretAccessKey"],
    ["a key of two words", {
      ...s3,
      secretAccessKey: "do-not-show do-not-show",
    }, "mediaStorage.secretAccessKey"],
    [
      "a number as a key",
      { ...s3, accessKeyId: 7 },
      "mediaStorage.accessKeyId",
    ],
    ["an address with a password", {
      ...s3,
      endpoint: "https://me:do-not-show@host",
    }, "mediaStorage.endpoint"],
    ["an address of a file", {
      ...s3,
      endpoint: "file:///do-not-show",
    }, "mediaStorage.endpoint"],
    ["an unknown field", { ...s3, acl: "do-not-show" }, "mediaStorage"],
    ["credentials that are not JSON", {
      provider: "gcs",
      bucket: "media",
      credentials: "do-not-show",
    }, "mediaStorage.credentials"],
    ["credentials without a key", {
      provider: "gcs",
      bucket: "media",
      credentials: { client_email: "a@b", private_key: "do-not-show" },
    }, "mediaStorage.credentials.private_key"],
  ];
  for (const [what, mediaStorage, fault] of broken) {
    it(`refuses ${what}, and shows no value`, async () => {
      const options = {
        url: "postgresql://u:p@h/d",
        schema: "s",
        mediaStorage,
      };
      await openStreamStorage(options as StreamStorageOptions).then(
        () => assert.fail("Must be refused"),
        (error) => {
          assert.ok(isStreamStorageError(error, "BAD_CONFIG"), String(error));
          const faults = error.details["faults"] as { option: string }[];
          assert.deepEqual(
            [...new Set(faults.map(({ option }) => option))],
            [fault],
          );
          const text = JSON.stringify([error.message, error.details]);
          assert.ok(!text.includes("do-not-show"), text);
        },
      );
    });
  }

  it("refuses a schema whose name can't be a part of an address", async () => {
    for (const schema of [".", "..", "a/../b", "a//b", "/a"]) {
      await assert.rejects(
        openStreamStorage({
          url: "postgresql://u:p@h/d",
          schema,
          mediaStorage: s3 as never,
        }),
        { code: "BAD_CONFIG" },
      );
    }
  });

  it("accepts a service account as text", async () => {
    const server = await startGcsServer();
    const { credentials, ...rest } = onGcs(server) as {
      provider: "gcs";
      bucket: string;
      endpoint: string;
      credentials: object;
    };
    {
      await using test = await openTestStorage({
        mediaStorage: { ...rest, credentials: JSON.stringify(credentials) },
      });
      const id = await sealMedia(test.storage);
      await test.storage.maintenance.offloadMedia();
      assert.equal(
        await test.storage.streamMiniblocksStoredLocation(id),
        "gcs",
      );
      assert.deepEqual([...server.objects.keys()], [`${test.schema}/${id}`]);
      await test.storage.deleteStream(id);
      assert.equal(server.objects.size, 0);
    }
    await server[Symbol.asyncDispose]();
  });
});
