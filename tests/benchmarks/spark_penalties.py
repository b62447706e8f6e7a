"""Find the penalty that suits Spark's ALS, with and without means, and our ALS, and write nbs/further/spark_penalties.csv

A sixth of the users are taken from the training set of 25 million ratings, and a tenth of their ratings is held out. The validation set of the chapter isn't used."""
import tempfile, time
from pathlib import Path
import pandas as pd
from collab_course.further.machines import (
    filled, mean_tables, read_ratings, spark_als, spark_tables, start_spark, stop_spark, write_ratings)
from collab_course.further.millions import get_millions, read_coded, train_valid
from collab_course.further.sweeps import sweep_als, tables_rmse

FILE = Path(__file__).resolve().parents[2]/'nbs'/'further'/'spark_penalties.csv'
PENALTIES = .02, .03, .04, .05, .06, .08, .1
SWEEPS, N_FACTORS, SHARE = 6, 32, 6

def rows(train, valid, folder):
    "A row for each model and penalty, with its error on `valid`"
    means = mean_tables(train, N_FACTORS)
    data = {'Spark': write_ratings(train, folder/'ratings'),
            'Spark after means': write_ratings(train, folder/'rest', offset=means.predict(train.users, train.items))}
    spark = start_spark(memory='4g', path=folder/'spark')
    try:
        for l2 in PENALTIES:
            for name, path in data.items():
                fitted = spark_als(read_ratings(spark, path), N_FACTORS, l2, SWEEPS)
                tables = spark_tables(fitted, train.n_users, train.n_items)
                tables = filled(tables, means.mean if name == 'Spark' else means)
                yield dict(model=name, l2=l2, rmse=round(tables_rmse(tables, valid), 5))
            tables = sweep_als(train, N_FACTORS, l2, SWEEPS)
            yield dict(model='ALS with biases', l2=l2, rmse=round(tables_rmse(tables, valid), 5))
    finally:
        stop_spark(spark)

def main():
    "Run from the command line"
    train, _ = train_valid(read_coded(get_millions()))
    some = train.where(train.users % SHARE == 0)
    found, start = [], time.time()
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(*train_valid(some, seed=1), Path(folder)):
            found.append(row)
            print(f'{time.time() - start:.0f} s', row, flush=True)
    pd.DataFrame(found).to_csv(FILE, index=False)

if __name__ == '__main__':
    main()
