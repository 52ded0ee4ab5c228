/** Hooks that a training loop calls by `fabric.call(name, ...)` on every callback that has them. */

/**
 * The names that our own loops call. A callback implements those that it wants; hooks of other names are as good, as
 * long as the loop calls them. All may be asynchronous; they are awaited in order.
 */
export interface Callback {
  onTrainStart?(...context: never[]): unknown;
  onTrainEpochStart?(...context: never[]): unknown;
  onTrainBatchStart?(...context: never[]): unknown;
  onTrainBatchEnd?(...context: never[]): unknown;
  onOptimizerStep?(...context: never[]): unknown;
  onTrainEpochEnd?(...context: never[]): unknown;
  onEvaluationStart?(...context: never[]): unknown;
  onEvaluationEnd?(...context: never[]): unknown;
  onCheckpointSaved?(...context: never[]): unknown;
  onTrainEnd?(...context: never[]): unknown;
}

/** Calls `hook` on each callback that has a method of that name. */
export async function callHook(callbacks: readonly object[], hook: string, context: readonly unknown[]): Promise<void> {
  for (const callback of callbacks) {
    const method: unknown = Reflect.get(callback, hook);
    if (typeof method === 'function') await Reflect.apply(method, callback, context);
  }
}
