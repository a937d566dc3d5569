/** The options of `verify` and `repair` that choose what to examine. */

import type { Command, OptionValues } from "@commander-js/extra-typings";
import {
  type StreamId,
  type StreamType,
  streamTypes,
} from "../../storage/stream_id.ts";
import { type StoreOptions, withStore } from "../store_options.ts";
import { choice, collect, rate, streamId } from "../values.ts";

/** What {@linkcode withScope} adds. */
export type ScopeOptions = StoreOptions & {
  stream?: StreamId[] | undefined;
  type?: StreamType[] | undefined;
  rate?: number | undefined;
};

/** Adds the options that name a store and streams of it, and `--json`. */
export function withScope<
  A extends unknown[],
  O extends OptionValues,
  G extends OptionValues,
>(command: Command<A, O, G>): Command<A, O & ScopeOptions, G> {
  return withStore(command)
    .option(
      "--stream <id>",
      "only this stream; may be repeated",
      collect<StreamId>(streamId("after --stream")),
    )
    .option(
      "--type <type>",
      "only streams of this type; may be repeated",
      collect<StreamType>(choice("--type", streamTypes)),
    )
    .option(
      "--rate <MB/s>",
      "the most to read a second",
      rate("--rate"),
    ) as unknown as Command<A, O & ScopeOptions, G>;
}

/** The options as the library takes them. */
export function scopeOf({ stream, type, rate }: ScopeOptions) {
  return {
    ...(stream && { streamIds: stream }),
    ...(type && { types: type }),
    ...(rate !== undefined && { rate }),
  };
}
