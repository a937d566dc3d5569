/**
 * Explores a model exhaustively: all states that its steps can reach from the
 * first one. The search is breadth-first, so the trace to a violation is the shortest.
 */
/** One step out of a state. */
export interface Step<State> {
  name: string;
  /** The step may never happen, so nothing may depend on it. */
  isFault: boolean;
  next: State;
  /** The invariant that this step breaks. */
  broken?: string | undefined;
}

/** States, and the steps that lead from one to the next. */
export interface Model<State> {
  first: State;
  steps(state: State): Step<State>[];
  /** Equal for equal states only. */
  key(state: State): string;
  /** Whether nothing is left to do in the state. */
  isAtRest(state: State): boolean;
}

/** The result of an exploration. */
export interface Exploration {
  states: number;
  steps: number;
  /** Steps from the first state to the farthest. */
  depth: number;
  violation?: { broken: string; trace: string[] };
}

/** The invariant that some path without faults leads from every state to rest. */
export const comesToRest = "it comes to rest";

/** Explores until a step breaks an invariant that is not among `ignored`. */
export function explore<State>(
  model: Model<State>,
  ignored: readonly string[] = [],
): Exploration {
  const ids = new Map([[model.key(model.first), 0]]);
  const parents = [0];
  /** The steps without a fault, as pairs of states, from and to. */
  const edges: number[] = [];
  const resting: number[] = [];
  let [level, steps, depth, from] = [[model.first], 0, 0, 0];
  const traceTo = (id: number) => traceOf(model, parents, [...ids.keys()], id);
  for (; level.length > 0; depth++) {
    const nextLevel: State[] = [];
    for (const state of level) {
      if (model.isAtRest(state)) resting.push(from);
      for (const { name, isFault, next, broken } of model.steps(state)) {
        if (broken !== undefined && !ignored.includes(broken)) {
          const trace = [...traceTo(from), name];
          return {
            states: ids.size,
            steps,
            depth,
            violation: { broken, trace },
          };
        }
        steps++;
        const key = model.key(next);
        let to = ids.get(key);
        if (to === undefined) {
          to = ids.size;
          ids.set(key, to);
          parents.push(from);
          nextLevel.push(next);
        }
        if (!isFault) edges.push(from, to);
      }
      from++;
    }
    level = nextLevel;
  }
  const found = { states: ids.size, steps, depth: depth - 1 };
  if (ignored.includes(comesToRest)) return found;
  const stuck = firstWithoutRest(ids.size, edges, resting);
  if (stuck === undefined) return found;
  const violation = { broken: comesToRest, trace: traceTo(stuck) };
  return { ...found, violation };
}

/** The names of the steps that lead to a state. */
function traceOf<State>(
  model: Model<State>,
  parents: readonly number[],
  keys: readonly string[],
  id: number,
): string[] {
  const path = [id];
  while (path[0] !== 0) path.unshift(parents[path[0]!]!);
  let state = model.first;
  return path.slice(1).map((to) => {
    const step = model.steps(state).find(({ next }) =>
      model.key(next) === keys[to]
    );
    if (step === undefined) throw new Error("Expected the same steps again");
    state = step.next;
    return step.name;
  });
}

/** The first state from which no path leads to a resting one. */
function firstWithoutRest(
  states: number,
  edges: readonly number[],
  resting: readonly number[],
): number | undefined {
  // A state's predecessors are contiguous, from its start to the next state's.
  const starts = new Uint32Array(states + 1);
  for (let at = 1; at < edges.length; at += 2) starts[edges[at]! + 1]!++;
  for (let id = 0; id < states; id++) starts[id + 1]! += starts[id]!;
  const predecessors = new Uint32Array(edges.length / 2);
  const filled = starts.slice();
  for (let at = 0; at < edges.length; at += 2) {
    predecessors[filled[edges[at + 1]!]!++] = edges[at]!;
  }
  const rests = new Uint8Array(states);
  const open = [...resting];
  for (const id of open) rests[id] = 1;
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    for (let at = starts[id]!; at < starts[id + 1]!; at++) {
      const before = predecessors[at]!;
      if (rests[before] === 1) continue;
      rests[before] = 1;
      open.push(before);
    }
  }
  const stuck = rests.indexOf(0);
  return stuck < 0 ? undefined : stuck;
}
