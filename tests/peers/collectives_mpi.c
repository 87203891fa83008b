/* The peer of `steptop run collectives` on the CPU: MPI_Allreduce in place, the slowest rank's mean. mpicc -O3; argument: bytes. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int rank = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    const long bytes = argc > 1 ? atol(argv[1]) : 1000000000;
    const int count = (int)(bytes / 4), warmup = 2, steps = 5;
    float *x = malloc((size_t)bytes);
    for (int i = 0; i < count; i++)
        x[i] = 0;
    double total = 0, slowest = 0;
    for (int i = 0; i < warmup + steps; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        const double start = MPI_Wtime();
        MPI_Allreduce(MPI_IN_PLACE, x, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        total += i < warmup ? 0 : MPI_Wtime() - start;
    }
    MPI_Reduce(&total, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("%.1f\n", slowest / steps * 1e3);
    MPI_Finalize();
    free(x);
    return 0;
}
