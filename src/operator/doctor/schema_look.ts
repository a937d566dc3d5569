/** The look at a schema that its checks have in common. */

import {
  askHome,
  type ReportedHome,
} from "../../database/cluster/find_home.ts";
import {
  readSchemaState,
  type SchemaState,
} from "../../database/migrations/mod.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { fail, type Result } from "./diagnosis.ts";
import type { Look } from "./look.ts";

/** A look at a schema that is there. */
export interface SchemaLook extends Look {
  schema: string;
  state: SchemaState;
  /** Where a distributed schema lives; undefined: where we are. */
  home: ReportedHome | undefined;
}

/** Undefined if the schema is none that could be looked at. */
export async function lookAtSchema(
  look: Look,
  schema: string,
): Promise<SchemaLook | Result> {
  const state = await readSchemaState(look.session, schema, {
    ownOnlyIfReadable: true,
  });
  if (state.exists && state.suffixes.length > 0) {
    const home = look.hasCitus
      ? await askHome(look.session, schema)
      : undefined;
    return { ...look, schema, state, home };
  }
  return fail(
    state.exists
      ? `Schema ${quoted(schema)} has no tables of a store`
      : `Schema ${quoted(schema)} does not exist`,
    "See `status` for the stores of this database, or open one to make it.",
  );
}
