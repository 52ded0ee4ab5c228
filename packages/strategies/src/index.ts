/** The public surface of @tensorloom/strategies. Importing it registers the strategies. */
export { AccumulateStrategy, DEFAULT_ACCUMULATE, type AccumulateOptions } from './accumulate.ts';
