/**
 * The actor that writes a stream block by block, in the process that is killed.
 */
import { call, type Ground, type Known } from "./actor.ts";
import { blocksOf } from "./contents.ts";
import { isLeftOf } from "./trimmed.ts";

/** Writes, moves and deletes its stream, until a change of it fails. */
export async function writer(ground: Ground, known: Known): Promise<void> {
  const { storage: { maintenance }, random, signal } = ground;
  const { id: streamId } = known;
  while (!signal.aborted) {
    if (known.version === undefined) {
      if (!await create(ground, known)) return;
      continue;
    }
    const isFull = known.blocks === blocksOf(streamId, known.version).length;
    if (random.chance(isFull ? 30 : 2)) {
      if (!await remove(ground, known)) return;
    } else if (!isFull && random.chance(50)) {
      if (!await write(ground, known)) return;
    } else if (random.chance(30)) {
      await call(
        ground,
        "trimOne",
        () => maintenance.trimStreams({ streamId }),
      );
    } else if (random.chance(40)) {
      await call(
        ground,
        "offload",
        () => maintenance.offloadMedia({ streamId }),
      );
    } else await read(ground, known);
  }
}

async function create(ground: Ground, known: Known): Promise<boolean> {
  const { storage, send } = ground;
  const { id } = known;
  const version = known.next++;
  send({ what: "creates", id, version });
  send({ what: "sends", id, blocks: 1 });
  const created = await call(
    ground,
    "create",
    () => storage.createStreamStorage(id, blocksOf(id, version)[0]!),
  );
  if (created.code !== undefined) return false;
  send({ what: "has", id, blocks: 1 });
  Object.assign(known, { version, blocks: 1 });
  return true;
}

async function remove(ground: Ground, known: Known): Promise<boolean> {
  const { storage, send } = ground;
  const { id } = known;
  send({ what: "deletes", id });
  const deleted = await call(ground, "delete", () => storage.deleteStream(id));
  if (deleted.code !== undefined) return false;
  send({ what: "deleted", id });
  known.version = undefined;
  return true;
}

async function write(ground: Ground, known: Known): Promise<boolean> {
  const { storage, random, send } = ground;
  const { id, version, blocks: from } = known;
  const batch = blocksOf(id, version!).slice(
    from,
    from + random.between(1, 60),
  );
  const to = from + batch.length;
  send({ what: "sends", id, blocks: to });
  const written = await call(
    ground,
    "write",
    () =>
      storage.writeMiniblocks(
        id,
        batch,
        { generation: BigInt(to), envelopes: [] },
        { generation: BigInt(from) },
      ),
  );
  if (written.code === "FAILED_PRECONDITION") {
    // The store refuses writes to a stream in object storage.
    await call(
      ground,
      "rehydrate",
      () => storage.maintenance.rehydrateMedia(id),
    );
    return true;
  }
  if (written.code !== undefined) return false;
  send({ what: "has", id, blocks: to });
  known.blocks = to;
  return true;
}

async function read(ground: Ground, known: Known): Promise<void> {
  const { storage, send } = ground;
  const { id, version, blocks } = known;
  const written = blocksOf(id, version!).slice(0, blocks);
  const found = await call(
    ground,
    "read",
    () => storage.readMiniblocks(id, 0n, 1000n),
  );
  if (found.code !== undefined) return;
  if (isLeftOf(found.result.miniblocks, written)) return;
  send({ what: "broken", text: `${id} ${version} reads back differently` });
}
