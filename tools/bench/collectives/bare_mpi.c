/* Open MPI called bare: the peer of the collectives bench. Prints one JSON line.
 *
 *     bare_mpi BYTES REPEATS SMALL_BYTES SMALL_REPEATS
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

/* Best seconds of one all-reduce over `times` measurements of `batch` calls. */
static double measure(long bytes, int times, int batch) {
  int count = (int)(bytes / (long)sizeof(float));
  int world;
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  float *data = malloc((size_t)count * sizeof(float));
  for (int i = 0; i < count; i++) data[i] = 1;
  double best = 1e9;
  for (int i = 0; i < times; i++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double started = MPI_Wtime();
    for (int j = 0; j < batch; j++)
      MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    double seconds = (MPI_Wtime() - started) / batch;
    if (seconds < best) best = seconds;
  }
  for (int i = 0; i < count; i++) data[i] = 1;
  MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  if (data[0] != (float)world || data[count - 1] != (float)world) MPI_Abort(MPI_COMM_WORLD, 1);
  free(data);
  return best;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  MPI_Init(&argc, &argv);
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  double large = measure(atol(argv[1]), atoi(argv[2]), 1);
  double small = measure(atol(argv[3]), atoi(argv[4]), 100);
  if (rank == 0) printf("{\"largeSeconds\": %.9f, \"smallSeconds\": %.9f}\n", large, small);
  MPI_Finalize();
  return 0;
}
