/** What of a run's options goes to its strategy and its process group, under their own names. */
import type { RunConfig } from '../config/schema.ts';

type StrategyConfig = Pick<
  RunConfig,
  | 'strategy'
  | 'accumulate'
  | 'bucketMegabytes'
  | 'compression'
  | 'reduceEachMicroBatch'
  | 'parameterStorage'
  | 'reductionStorage'
>;

/**
 * Options of the strategy; each refuses those that it does not have.
 * @param worldSize ranks, each of which takes its part of the `accumulate` micro-batches of a step
 */
export function strategyOptions(config: StrategyConfig, worldSize: number): Record<string, unknown> {
  if (config.strategy === 'single') return {};
  const { accumulate, bucketMegabytes, compression, reduceEachMicroBatch, parameterStorage, reductionStorage } = config;
  return {
    accumulate: accumulate / worldSize,
    ...given({ bucketMegabytes, compression, reduceEachMicroBatch, parameterStorage, reductionStorage }),
  };
}

type GroupConfig = Pick<RunConfig, 'listenAddress' | 'networkInterface' | 'tlsCertificate' | 'tlsKey' | 'tlsAuthority'>;

/** Options of the process group `ws`, also where it is part of `auto`. */
export function processGroupOptions(config: GroupConfig): Record<string, unknown> {
  const { listenAddress: bindAddress, networkInterface, tlsCertificate: certPath, tlsKey: keyPath } = config;
  const caPath = config.tlsAuthority;
  const tls = certPath === undefined ? undefined : { certPath, keyPath, caPath };
  return given({ bindAddress, interface: networkInterface, tls });
}

function given(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
