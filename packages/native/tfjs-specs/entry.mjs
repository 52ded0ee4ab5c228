/** What is bundled: modules are evaluated in this order, and the specs read the environment as they are defined. */
import '@tensorflow/tfjs-core';
import '#backend';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import './test-environment.mjs';
import '@tensorflow/tfjs-core/dist/tests';
