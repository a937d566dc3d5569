import { Random } from "../../tests/support/random.ts";
import { author, type Ground, janitor, type Known, reader } from "./actor.ts";
import { isWritten } from "./contents.ts";
import { writer } from "./writer.ts";

/** Runs all actors on a store until the signal aborts. */
export async function work(
  ground: Omit<Ground, "random">,
  { seed, authored, ids }: {
    seed: string;
    /** The streams that these actors change; others change the rest. */
    authored: Known[];
    /** The ids of all streams. */
    ids: Known["id"][];
  },
): Promise<void> {
  const groundOf = (name: string) => ({
    ...ground,
    random: new Random(`${seed} ${name}`),
  });
  await Promise.all([
    ...authored.map((known) =>
      (isWritten(known.id) ? writer : author)(groundOf(known.id), known)
    ),
    reader(groundOf("reader"), authored),
    janitor(groundOf("janitor"), ids),
  ]);
}
