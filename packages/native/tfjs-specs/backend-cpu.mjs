/** tfjs's own CPU backend: what `native` is compared with. */
import '@tensorflow/tfjs-backend-cpu';
