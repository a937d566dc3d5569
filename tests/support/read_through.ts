import { isOperationName, isWrite } from "../../src/storage/operations.ts";
import type { StreamReader } from "../../src/storage/stream_reader.ts";
import type { StreamStorage } from "../../src/storage/stream_storage.ts";

/** A store that sends reads to the reader instead; closing closes both. */
export function readThrough(
  storage: StreamStorage,
  reader: StreamReader,
): StreamStorage {
  const close = async () => {
    await reader.close();
    await storage.close();
  };
  return new Proxy(storage, {
    get: (_, name) => {
      if (name === "close" || name === Symbol.asyncDispose) return close;
      const of = isOperationName(name) && !isWrite(name) ? reader : storage;
      const value = Reflect.get(of, name);
      return typeof value === "function" ? value.bind(of) : value;
    },
  });
}
